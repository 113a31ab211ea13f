"""Aids beyond the paper that make a tracker learn from little data; each wraps a part of the network or criterion."""
