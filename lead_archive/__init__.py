"""The bulk client of the Vicidial Lead Archive API: it sends leads to the service in batches."""

__version__ = "0.1.0"
