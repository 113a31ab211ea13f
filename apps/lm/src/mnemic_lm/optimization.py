"""Parameter groups and learning-rate schedule."""

import math
from typing import Any

from mnemic_kit.parameter_groups import decay_groups
from mnemic_lm.model import LanguageModel


def parameter_groups(
    model: LanguageModel, lr: float, weight_decay: float, memory_lr_scale: float
) -> list[dict[str, Any]]:
    """Return groups of the matrices, with weight decay, the vectors, and the values of a product-key memory.

    Args:
        model: the network to train.
        lr: peak learning rate.
        weight_decay: of matrices.
        memory_lr_scale: factor of the learning rate of the values.
    """
    values = [] if model.product_key_memory is None else [model.product_key_memory.values]
    others = [parameter for parameter in model.parameters() if all(parameter is not value for value in values)]
    groups = decay_groups(others, weight_decay)
    if values:
        # Each is read in few steps: decay in all would erase it, and it needs a higher rate (Lample et al. 2019).
        groups.append({"params": values, "weight_decay": 0.0, "lr": memory_lr_scale * lr})
    return groups


def warmup_cosine(step: int, warmup: int, total: int, final: float) -> float:
    """Return the learning rate of a step relative to the peak: linear warm-up, then half a cosine.

    Args:
        step: number of the step, from 0.
        warmup: warm-up steps.
        total: steps of the training.
        final: value in the last step.

    Example:
        >>> [round(warmup_cosine(step, warmup=2, total=6, final=0.1), 2) for step in (0, 1, 2, 4, 6)]
        [0.5, 1.0, 1.0, 0.55, 0.1]
    """
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2
