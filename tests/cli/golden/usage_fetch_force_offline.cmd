wload fetch --force --offline org/name
