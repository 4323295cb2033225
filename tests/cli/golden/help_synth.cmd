wload help synth
