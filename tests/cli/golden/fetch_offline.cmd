wload fetch --offline --cache-dir cache org/none
