wload load --cache-dir= org/name
