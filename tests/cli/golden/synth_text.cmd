wload synth new --size 256K --shards 3 && ls new
