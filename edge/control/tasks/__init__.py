"""How far a task is, judged by the robot's own sensors; one module per task."""
