"""The Diameter door: connections, workers, the acceptor, and the processes that they live in."""
