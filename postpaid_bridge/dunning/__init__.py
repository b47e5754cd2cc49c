"""Dunning: where an account stands, what is due next and why, and what the law allows; pure."""
