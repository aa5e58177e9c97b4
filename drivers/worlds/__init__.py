"""Worlds around a robot, which can be reset for each episode. Each module is a kind."""
