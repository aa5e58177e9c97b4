"""Tasks as the robot's own sensors tell them; a module each."""
