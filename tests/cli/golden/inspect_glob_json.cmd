wload inspect --json --tensor model.norm.weight sharded
