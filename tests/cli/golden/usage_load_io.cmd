wload load --io dirct llama
