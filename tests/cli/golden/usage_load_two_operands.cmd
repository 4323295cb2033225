wload load llama sharded
