wload fetch acme/small@v1
