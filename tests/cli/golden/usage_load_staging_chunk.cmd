wload load --staging 64K --chunk 128K llama
