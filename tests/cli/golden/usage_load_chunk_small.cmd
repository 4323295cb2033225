wload load --chunk 32K llama
