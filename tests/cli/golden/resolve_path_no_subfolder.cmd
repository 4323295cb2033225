wload resolve ./pipeline --subfolder nosuch
