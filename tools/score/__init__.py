"""`headway score`: PRO features and signals for telemetry of other robots.

A file goes through these modules in this order: `mapping` (what a channel means), the sources
(`text`, `arrays`, `hdf5` and `lerobot` give tables, `bag` reads logs of messages), `stamps` (times
made usable), `convert` (SI units), `grid` (resampling), `labels` and `labelfile` (how it went),
`telemetry` (rows as the loop has them), `scoring` (features and signals), `results` (what is
written), `command` (many files, and what is said about them).
"""
