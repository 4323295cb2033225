wload load --chunk 96K llama
