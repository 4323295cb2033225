wload load --queue-depth 1025 llama
