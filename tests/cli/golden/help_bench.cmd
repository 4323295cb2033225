wload bench --help
