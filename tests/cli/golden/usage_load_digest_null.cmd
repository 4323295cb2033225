wload load --digest --device null llama
