"""The kinds of policies; a module each."""
