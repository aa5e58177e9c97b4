"""Learn from recordings: collect demonstrations and rollouts, train policies and PRO heads."""
