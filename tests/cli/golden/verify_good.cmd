wload verify --cache-dir cache org/good
