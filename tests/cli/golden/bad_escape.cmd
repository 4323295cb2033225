wload load escape
