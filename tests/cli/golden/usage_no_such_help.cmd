wload help unload
