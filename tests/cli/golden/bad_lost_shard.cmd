wload load lost
