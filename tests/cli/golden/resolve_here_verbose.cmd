wload resolve -v --cache-dir cache hf://models/org/good@main
