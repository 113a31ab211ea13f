"""Choosing what of a document is worth remembering."""

from .uncertainty import normalised_entropy, select_certain_tokens, select_positions

__all__ = ["normalised_entropy", "select_certain_tokens", "select_positions"]
