wload load --reader mmap llama
