wload synth llama --size 256K
