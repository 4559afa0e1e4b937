"""Random sites: schemas, servers and accounts as administrators set them up."""
