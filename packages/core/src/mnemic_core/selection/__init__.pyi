"""Choosing what of a document is worth remembering."""

from .uncertainty import normalized_entropy, select_certain_tokens, select_positions

__all__ = ["normalized_entropy", "select_certain_tokens", "select_positions"]
