"""Train, evaluate and run speech recognisers with memory."""
