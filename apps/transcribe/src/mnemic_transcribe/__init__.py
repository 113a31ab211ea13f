"""Train, evaluate and run speech recognizers with memory."""
