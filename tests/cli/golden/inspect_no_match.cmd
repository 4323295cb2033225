wload inspect --tensor 'lm_head.*' --tensor 'nothing*' llama
