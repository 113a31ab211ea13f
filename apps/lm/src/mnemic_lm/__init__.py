"""Train, evaluate and run language models with memory."""
