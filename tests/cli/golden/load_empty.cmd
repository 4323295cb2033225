wload load --json empty.safetensors | tr -d "\t\n" | grep -o "\"tensors\":0,\"bytes\":0,"
