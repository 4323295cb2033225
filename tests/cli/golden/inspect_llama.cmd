wload inspect llama
