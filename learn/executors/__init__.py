"""Where the parts of a large computation run: processes of this computer, or a Ray cluster. The
same functions run on both; `executor` has the interface, each other module one kind."""
