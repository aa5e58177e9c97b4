"""What people look with: run, report, score, latency, doctor, replay, view, serve."""
