"""The computer that the loop runs on: what is asked of it, and what is recorded about it."""
