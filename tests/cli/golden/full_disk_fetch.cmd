wload fetch --offline --cache-dir cache org/good >/dev/full
