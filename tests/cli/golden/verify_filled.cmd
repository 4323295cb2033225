mkdir -p filled/.cache/huggingface && wload verify filled
