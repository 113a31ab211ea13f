"""Optimizer groups of layers that remember in their weights."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from mnemic_core.errors import UserError


def memory_param_groups(
    module: nn.Module, memory: Sequence[nn.Parameter], lr_scale: float, lr: float | None
) -> list[dict[str, Any]]:
    """Return optimizer groups of the other parameters of a module and of its memory.

    Args:
        module: the layer.
        memory: those of its parameters that are the memory.
        lr_scale: factor of their learning rate, above 0.
        lr: learning rate of the others. If None, groups have ``"lr_scale"``, for a scheduler, instead of ``"lr"``.
    """
    if not lr_scale > 0:
        raise UserError(f"lr_scale must be above 0, got {lr_scale}; freeze the memory with requires_grad_(False)")
    remembered = {id(parameter) for parameter in memory}
    rest = [parameter for parameter in module.parameters() if id(parameter) not in remembered]
    return [
        {"params": parameters, "lr_scale": scale} if lr is None else {"params": parameters, "lr": lr * scale}
        for parameters, scale in ((rest, 1.0), (list(memory), lr_scale))
    ]
