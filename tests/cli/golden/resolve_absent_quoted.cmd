wload resolve --cache-dir 'a b' --subfolder "it's" --variant fp16 --include '*.json' --exclude 'x/$1' hf://org/none
