wload inspect llama >/dev/full
