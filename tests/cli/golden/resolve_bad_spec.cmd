wload resolve hf://org/name/../other
