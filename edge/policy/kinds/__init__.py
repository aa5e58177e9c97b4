"""The kinds of policies that run on this computer; one module per kind."""
