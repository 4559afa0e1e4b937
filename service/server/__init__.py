"""The process: sockets, HTTP/1.1, TLS, workers, start, reload and stop."""
