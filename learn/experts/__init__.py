"""Scripted experts, which take the place of a person who demonstrates a task. They use noisy poses
of objects, which a policy on a robot does not have."""
