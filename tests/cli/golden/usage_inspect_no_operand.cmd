wload inspect --json
