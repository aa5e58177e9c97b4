"""Learning from execution: datasets from recordings, experts, policies, PRO training."""
