wload unload
