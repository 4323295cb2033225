wload synth images --preset diffusion --size 512K --shards 2 && find images -type f | sort
