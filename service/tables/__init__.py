"""What the two tables of a site look like, and whether leads can be moved safely between them."""
