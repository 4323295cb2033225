wload load fifo.safetensors
