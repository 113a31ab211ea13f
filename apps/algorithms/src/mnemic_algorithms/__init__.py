"""Memories on algorithmic tasks: training, accuracy against length, and cost."""
