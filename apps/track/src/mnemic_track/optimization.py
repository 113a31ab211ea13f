"""Parameter groups of MeMOTR with the official learning rates."""

from typing import Any

from torch import Tensor

from mnemic_vision.memotr import Memotr


def parameter_groups(model: Memotr, lr: float, lr_backbone: float, lr_points: float) -> list[dict[str, Any]]:
    """Return the trained parameters, one group for each learning rate.

    ``lr_points`` is that of reference points and sampling offsets, ``lr`` of all that is not in the backbone either.
    """
    rates = {"backbone": lr_backbone, "reference_points": lr_points, "sampling_offsets": lr_points}
    groups: dict[float, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = next((rate for part, rate in rates.items() if part in name), lr)  # matched as in the official code
            groups.setdefault(rate, []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]
