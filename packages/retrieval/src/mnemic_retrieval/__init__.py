"""Retrieval systems with memory."""
