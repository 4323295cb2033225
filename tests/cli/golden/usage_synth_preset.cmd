wload synth --preset gpt x
