"""Exact inference frame by frame at constant cost: what depends on one frame is computed once, when it arrives."""
