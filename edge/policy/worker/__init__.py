"""The policy beside the loop: in its own process in real time, in place in lock-step."""
