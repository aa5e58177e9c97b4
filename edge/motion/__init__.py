"""Motion: from action chunks to a joint reference at every tick, and to a stop without one."""
