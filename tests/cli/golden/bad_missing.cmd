wload load missing
