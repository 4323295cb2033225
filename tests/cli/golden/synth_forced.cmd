wload synth again --size 256K --shards 3 >/dev/null; wload synth again --size 256K --force && ls again
