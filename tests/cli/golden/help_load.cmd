wload load --help
