wload load --device host:1 llama
