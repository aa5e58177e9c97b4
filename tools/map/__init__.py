"""`headway map`: what is in a file of telemetry, and a first mapping for it, to be edited.

A file goes through these modules in this order: `survey` (what is there), `guess` (what that is, by
its names and types), `write` (the mapping file), `command`.
"""
