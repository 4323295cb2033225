wload --quick load
