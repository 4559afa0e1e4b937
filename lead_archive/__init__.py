"""The bulk client of the Vicidial Lead Archive API: it sends leads to the service in batches."""
