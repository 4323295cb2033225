wload
