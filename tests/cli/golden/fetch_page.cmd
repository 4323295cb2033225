wload fetch https://huggingface.co/acme/small
