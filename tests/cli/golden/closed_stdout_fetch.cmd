wload fetch --offline --cache-dir cache org/good >&-
