wload synth --seed -1 x
