"""Scripted experts: they stand in for a person's demonstrations and are called scripted everywhere.
They see noisy object poses that no policy on a robot sees."""
