"""Cameras; each module is a kind: it has a strict `Config` and `connect(cfg, ctx)`."""
