wload load -v missing
