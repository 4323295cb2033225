wload --version
