wload fetch ./llama
