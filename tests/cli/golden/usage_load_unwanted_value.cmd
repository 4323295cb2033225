wload load --json=yes llama
