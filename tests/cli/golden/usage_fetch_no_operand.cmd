wload fetch --dry-run
