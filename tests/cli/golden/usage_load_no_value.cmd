wload load llama --chunk
