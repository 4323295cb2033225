wload inspect --subfolder vae --tensor 'quant_conv*' pipeline
