"""`headway replay`: recompute PRO from a recording, or compare two recordings."""
