"""`headway doctor`: what this machine has, what is missing, which rates it can hold."""
