"""Answers from a memory of pictures and texts: train, measure, run and serve."""
