wload inspect --tensor 'vae/quant_conv*' --tensor '*shared*' pipeline
