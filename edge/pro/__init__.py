"""The Process-Reward Operator in the loop, and what its risk does to a motion."""
