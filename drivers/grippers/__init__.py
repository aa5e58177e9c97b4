"""Grippers. Each module is a kind, with a strict struct `Config` and a `connect(cfg, ctx)`."""
