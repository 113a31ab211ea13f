"""Speech systems with memory."""
