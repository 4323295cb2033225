wload inspect --help
