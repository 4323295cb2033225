wload load shard_directory
