wload resolve $'hf://org/\e[2J'
