wload doctor --help
