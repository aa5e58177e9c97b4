"""From action chunks to a joint reference at every tick, and to a stop."""
