wload load --dig llama
