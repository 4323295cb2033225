wload inspect --json tiny.safetensors
