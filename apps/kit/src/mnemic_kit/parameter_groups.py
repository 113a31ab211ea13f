"""Parameter groups of optimizers with decoupled weight decay."""

from collections.abc import Iterable
from typing import Any

from torch.nn import Parameter


def decay_groups(parameters: Iterable[Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Return the matrices with weight decay, and the vectors (biases, scales) without.

    Args:
        parameters: those to train.
        weight_decay: of matrices.
    """
    given = list(parameters)
    return [
        {"params": [each for each in given if each.ndim > 1], "weight_decay": weight_decay},
        {"params": [each for each in given if each.ndim < 2], "weight_decay": 0.0},
    ]
