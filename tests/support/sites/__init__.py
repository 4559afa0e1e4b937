"""Random sites: schemas, servers and accounts as administrators make them."""
