"""What the optimiser is told: which parameters decay and learn faster, and how fast in which step."""

import math
from typing import Any

from mnemic_lm.model import LanguageModel


def parameter_groups(
    model: LanguageModel, lr: float, weight_decay: float, memory_lr_scale: float
) -> list[dict[str, Any]]:
    """Return matrices, which decay, vectors and, if there are any, the values of a product-key memory.

    Args:
        model: what is trained.
        lr: highest learning rate.
        weight_decay: of matrices.
        memory_lr_scale: how many times faster values learn.
    """
    values = [] if model.product_key_memory is None else [model.product_key_memory.values]
    others = [parameter for parameter in model.parameters() if all(parameter is not value for value in values)]
    groups: list[dict[str, Any]] = [
        {"params": [each for each in others if each.ndim > 1], "weight_decay": weight_decay},
        {"params": [each for each in others if each.ndim < 2], "weight_decay": 0.0},
    ]
    if values:
        # Each is read seldom: decay in every step would wash it out, and it has to learn faster (Lample et al. 2019).
        groups.append({"params": values, "weight_decay": 0.0, "lr": memory_lr_scale * lr})
    return groups


def warmup_cosine(step: int, warmup: int, total: int, final: float) -> float:
    """Return the learning rate of a step as a share of the highest one: a linear rise, then half a cosine.

    Args:
        step: number of the step, from 0.
        warmup: steps of the rise.
        total: steps of the whole training.
        final: the share in the last step.

    Example:
        >>> [round(warmup_cosine(step, warmup=2, total=6, final=0.1), 2) for step in (0, 1, 2, 4, 6)]
        [0.5, 1.0, 1.0, 0.55, 0.1]
    """
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2
