"""Optimiser groups of layers that remember in their weights."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from mnemic_core.errors import UserError


def memory_param_groups(
    module: nn.Module, memory: Sequence[nn.Parameter], lr_scale: float, lr: float | None
) -> list[dict[str, Any]]:
    """Return two optimiser groups: the rest of the module first, then its memory, which learns faster.

    Args:
        module: the layer.
        memory: those of its parameters that hold what is remembered.
        lr_scale: how many times faster these learn, above 0.
        lr: learning rate of the rest. Given, both groups carry their own ``"lr"``, which any optimiser obeys. Else
            they carry ``"lr_scale"``, for schedulers that multiply by it.

    Raises:
        UserError: if the factor is not above 0.
    """
    if not lr_scale > 0:
        raise UserError(f"lr_scale must be above 0, got {lr_scale}; freeze the memory with requires_grad_(False)")
    remembered = {id(parameter) for parameter in memory}
    rest = [parameter for parameter in module.parameters() if id(parameter) not in remembered]
    return [
        {"params": parameters, "lr_scale": scale} if lr is None else {"params": parameters, "lr": lr * scale}
        for parameters, scale in ((rest, 1.0), (list(memory), lr_scale))
    ]
