wload resolve org/name org/other
