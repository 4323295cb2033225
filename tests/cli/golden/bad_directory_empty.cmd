wload load nothing
