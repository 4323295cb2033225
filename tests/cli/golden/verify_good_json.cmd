wload verify --cache-dir cache --json org/good
