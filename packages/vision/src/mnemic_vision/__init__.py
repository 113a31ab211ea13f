"""Vision systems with memory."""
