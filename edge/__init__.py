"""What runs on the robot: loop, engines, policy worker, PRO operator, guard, recorder."""
