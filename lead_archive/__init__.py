"""The bulk client of the Vicidial Lead Archive API: it takes a file of lead ids to the service, batch by batch."""
