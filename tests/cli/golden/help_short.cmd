wload -h
