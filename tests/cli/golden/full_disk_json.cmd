wload inspect --json llama >/dev/full
