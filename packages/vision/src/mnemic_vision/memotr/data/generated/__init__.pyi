"""A synthetic world of people who cross, hide behind things and come back."""

from .world import GeneratedSequences

__all__ = ["GeneratedSequences"]
