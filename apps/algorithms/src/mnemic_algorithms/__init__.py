"""Memories on tasks with exact solutions: training, length against accuracy, and what every mechanism costs."""
