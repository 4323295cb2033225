wload load --json --tensor model.norm llama
