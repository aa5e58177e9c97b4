"""`headway doctor`: say what this machine has, what is missing, and which rates it can hold."""
