wload load --json truncated
