wload verify --local-dir b --cache-dir a org/name
