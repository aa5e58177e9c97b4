"""`headway teleop`: a person steers the arm, and what they do is recorded."""
