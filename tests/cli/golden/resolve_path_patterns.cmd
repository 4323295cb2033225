wload resolve ./llama --include '*.json'
