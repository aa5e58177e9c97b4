"""Timing of a run, from its recording: how long the stages of a tick took, how old samples were,
how long a chunk took from camera to command, which ticks were late and why, and how far the
robot's motion is behind its commands."""
