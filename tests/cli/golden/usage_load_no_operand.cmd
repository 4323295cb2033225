wload load
