wload load other.gguf
