wload resolve --cache-dir cache --revision v1 org/none
