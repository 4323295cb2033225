wload fetch --offline --cache-dir cache -v org/good 2>&1 >path | tail -n 1 && cat path
