"""Train, evaluate and run trackers with memory."""
