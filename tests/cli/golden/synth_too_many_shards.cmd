wload synth new --size 256K --shards 100
