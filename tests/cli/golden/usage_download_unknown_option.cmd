wload download --force-download org/name
