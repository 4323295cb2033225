wload fetch --cache-dir a --local-dir b org/name
