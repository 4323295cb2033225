wload help resolve
