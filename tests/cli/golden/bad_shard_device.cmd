wload load shard_device
