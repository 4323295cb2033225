wload load shard_fifo
