"""One file with everything that a trained machine needs: weights, sizes, its task and the lengths of training."""

from dataclasses import dataclass
from math import inf

from mnemic_algorithms.machines import AlgorithmModel
from mnemic_core.checkpoint import Checkpoint
from mnemic_core.errors import check_range


@dataclass(frozen=True)
class AlgorithmSettings:
    """What a machine was trained on.

    Args:
        max_length: of the strings in training; None where it is not known.
    """

    max_length: int | None = None

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "max_length")


@dataclass(frozen=True)
class AlgorithmCheckpoint(Checkpoint[AlgorithmModel, AlgorithmSettings], kind="algorithms"):
    """A machine trained on a task."""
