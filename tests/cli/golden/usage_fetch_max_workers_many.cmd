wload fetch --max-workers 257 org/name
