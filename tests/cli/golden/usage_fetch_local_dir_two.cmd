wload fetch --local-dir b org/name org/other
