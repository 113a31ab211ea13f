"""A synthetic world of people who cross, hide behind things and come back."""

from mnemic_vision.memotr.data.generated.world import GeneratedSequences

__all__ = ["GeneratedSequences"]
