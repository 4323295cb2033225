wload fetch --help
