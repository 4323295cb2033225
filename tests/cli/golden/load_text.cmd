wload load --device host --repeat 2 --tensor model.norm.weight --digest llama
