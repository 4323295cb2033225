wload inspect --json names.safetensors
