wload load short.safetensors
