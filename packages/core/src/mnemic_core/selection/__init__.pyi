"""Selection of the tokens of a document to remember."""

from .uncertainty import normalized_entropy, select_certain_tokens, select_positions

__all__ = ["normalized_entropy", "select_certain_tokens", "select_positions"]
