wload load --device null llama
