wload resolve ./llama
