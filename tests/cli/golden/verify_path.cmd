wload verify ./llama
