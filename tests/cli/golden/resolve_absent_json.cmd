wload resolve --cache-dir cache --json hf://org/none
