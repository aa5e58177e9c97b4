"""Policies: what they see, how they run beside the loop, here or on another computer."""
