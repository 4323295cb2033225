wload synth a b c -h | head -1
