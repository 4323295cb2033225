wload inspect empty.safetensors
