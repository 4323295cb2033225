wload verify --cache-dir cache org/none
