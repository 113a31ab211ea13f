"""Checkpoints of trained machines: weights, config, task and training lengths."""

from dataclasses import dataclass
from math import inf

from mnemic_algorithms.machines import AlgorithmModel
from mnemic_core.checkpoint import Checkpoint
from mnemic_core.errors import check_range


@dataclass(frozen=True)
class AlgorithmSettings:
    """Lengths that a machine was trained on.

    Args:
        max_length: longest training string; None if unknown.
    """

    max_length: int | None = None

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "max_length")


@dataclass(frozen=True)
class AlgorithmCheckpoint(Checkpoint[AlgorithmModel, AlgorithmSettings], kind="algorithms"):
    """A machine trained on a task."""
