wload synth --shards 0 x
