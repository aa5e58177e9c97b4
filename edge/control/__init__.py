"""The control loop, and the parts that one episode of it is made of."""
