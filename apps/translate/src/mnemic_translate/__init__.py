"""Training app of simultaneous speech translation."""
