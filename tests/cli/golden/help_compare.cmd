wload compare --help
