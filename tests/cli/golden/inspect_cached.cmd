wload inspect --cache-dir cache --tensor "*.0.input*" org/good
