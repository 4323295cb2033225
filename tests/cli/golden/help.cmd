wload --help
