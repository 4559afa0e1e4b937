"""The rules: what happens to a batch of leads, in which order, and when a lead stays where it is. No HTTP."""
