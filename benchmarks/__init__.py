"""Benchmarks: `make bench` runs them all, side by side where there is a peer.

The folder is the registry: a module `NAME.py` has `measure(effort) -> Findings`, and `--only NAME`
runs it alone. Modules that begin with `_` are what they share.
"""
