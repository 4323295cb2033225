wload load --staging 1 llama
