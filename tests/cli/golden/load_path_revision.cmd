mkdir -p acme && ln -sfn ../pipeline acme/pipe && wload load acme/pipe --revision nosuch
