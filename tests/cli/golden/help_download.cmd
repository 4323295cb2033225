wload help download
