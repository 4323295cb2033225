wload load huge.safetensors
