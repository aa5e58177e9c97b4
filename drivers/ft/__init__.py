"""Force/torque sensors. Each module is a kind, with a strict `Config` and a `connect(cfg, ctx)`."""
