wload synth --size 1X x
