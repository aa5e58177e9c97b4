"""Inference engines; the folder `backends` is the registry."""
