wload $'\e[2J\nx'
