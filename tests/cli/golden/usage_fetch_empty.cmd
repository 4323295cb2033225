wload fetch --revision= org/name
