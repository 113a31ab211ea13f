"""How sure a recognizer is of its words, to tell speech like that of its training from other sound."""

from dataclasses import dataclass
from math import isfinite

from jaxtyping import Float
from torch import Tensor

_PRIOR_FRAMES = 25  # sure frames that are assumed besides those heard, so that one short word is no evidence


@dataclass(frozen=True)
class Uncertainty:
    """Entropy of the CTC output of a recording.

    Where a network hears what it was trained for, nearly all frames are sure of a token or of blank. Noise, music and
    other languages leave many frames undecided, even if every word that is found looks probable.

    Attributes:
        entropy: sum over frames, in nats.
        frames: their number.
    """

    entropy: float = 0.0
    frames: int = 0

    @classmethod
    def of(cls, log_probs: Float[Tensor, "frame vocab"]) -> "Uncertainty":
        """Return the uncertainty of the frames of a segment, from the log-probabilities of CTC."""
        entropy = float(-(log_probs.exp() * log_probs.clamp(min=-1e4)).sum())
        return cls(entropy if isfinite(entropy) else 0.0, len(log_probs))

    def __add__(self, other: "Uncertainty") -> "Uncertainty":
        """Return the uncertainty of two segments."""
        return Uncertainty(self.entropy + other.entropy, self.frames + other.frames)

    @property
    def per_frame(self) -> float:
        """Mean entropy of a frame in nats, with 25 sure frames added: from 0 to the logarithm of the vocabulary."""
        return self.entropy / (self.frames + _PRIOR_FRAMES)
