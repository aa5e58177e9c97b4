"""Where the time of a run went, from its recording: stages, the way of a chunk, late ticks and why,
and how far the robot is behind its commands."""
