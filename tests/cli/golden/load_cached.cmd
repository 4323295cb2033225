wload load --cache-dir cache --offline --device null org/good
