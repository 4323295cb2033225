wload fetch --max-workers 0 org/name
