wload synth new --size 4K
