"""The bridge over HTTP: each file builds routers, from the ground of customers' routes."""
