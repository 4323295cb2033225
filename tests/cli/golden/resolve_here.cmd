wload resolve --cache-dir cache org/good
