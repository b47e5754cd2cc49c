"""The HTTP API of the bridge; each room of routes builds a router."""
