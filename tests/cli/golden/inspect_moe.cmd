wload inspect --tensor '*layers.1.mlp.experts.3.*' --tensor '*q_a*' moe
