wload verify --help
