"""The loop and what one episode of it is made of."""
