wload inspect names.safetensors
