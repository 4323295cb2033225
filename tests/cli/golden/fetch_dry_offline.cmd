wload fetch --offline --dry-run --cache-dir cache org/good
