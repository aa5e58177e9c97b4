"""Worlds around a robot that can be set up anew for each episode; a module each."""
