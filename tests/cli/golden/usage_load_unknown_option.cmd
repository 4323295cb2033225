wload load --fast llama
