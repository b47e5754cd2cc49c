"""Session life beyond one request: search, supervision, and the end that a client did not send."""
