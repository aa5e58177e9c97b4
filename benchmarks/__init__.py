"""Benchmarks: `make bench` runs them all, side by side where there is a peer."""
