wload inspect llama >&-
