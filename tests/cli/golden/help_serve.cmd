wload serve --help
