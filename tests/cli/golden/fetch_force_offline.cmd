HF_HUB_OFFLINE=1 wload fetch --force --json --cache-dir cache org/good
