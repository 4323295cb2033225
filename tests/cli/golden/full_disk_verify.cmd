wload verify --cache-dir cache org/bad >/dev/full
