wload load dtype.safetensors
