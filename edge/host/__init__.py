"""What the loop asks of the machine that it runs on."""
