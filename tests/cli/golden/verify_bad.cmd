wload verify --cache-dir cache org/bad
