wload fetch --offline --cache-dir cache org/good hf://models/org/good
