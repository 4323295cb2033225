wload load --tensor model.norm llama
