wload load --repeat 0 llama
