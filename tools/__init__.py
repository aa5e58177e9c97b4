"""The tools behind the command line: run, report, score, latency, doctor, replay, view, serve."""
