"""What operators see: the log, the audit log and the metrics."""
