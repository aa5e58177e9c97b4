"""Policies: what they see, and how they run beside the loop, on this computer or on another one."""
