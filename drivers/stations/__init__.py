"""Stations that hand out orders and confirm what has arrived. Each module is a kind, with a strict
`Config` and a `connect(cfg, ctx)`."""
