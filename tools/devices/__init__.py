"""`headway devices`: what is plugged in, and a first configuration for it."""
