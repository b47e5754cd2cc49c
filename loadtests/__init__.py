"""Benchmarks with their budgets, and the generator of charging load; `make bench` runs `loadtests.bench`."""
