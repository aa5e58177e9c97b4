"""Where the parts of a large computation run: processes of this computer, or a Ray cluster. The
same functions run on both. `executor` has the interface, `processes` and `on_ray` are the two
kinds, `parts` has what is run beside the units of a study."""
