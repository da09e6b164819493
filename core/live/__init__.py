"""Live streams: one look for all that listen, and an end for those who may not listen any more."""
