"""Records of an evaluation, gathered over all processes."""

import json
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class Records(Metric):
    """One plain record for each evaluated item, whichever process evaluated it.

    Processes get equally many batches, so that an item may be evaluated twice; it counts once.

    Example:
        >>> records = Records()
        >>> for name in ("b", "a", "b"):
        ...     records.update(name, {"errors": len(name)})
        >>> records.compute()
        {'a': {'errors': 1}, 'b': {'errors': 1}}
    """

    full_state_update = False
    lines: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        # As bytes, since the reductions that torchmetrics declares are of tensors.
        self.add_state("lines", [], dist_reduce_fx="cat")

    def update(self, key: str, record: Any) -> None:
        """Add the record of an item, of types that JSON knows, under a name that is unique in the data."""
        line = bytearray(json.dumps([key, record]).encode() + b"\n")
        self.lines.append(torch.frombuffer(line, dtype=torch.uint8).to(self.device))

    def compute(self) -> dict[str, Any]:
        """Return the record of each item by its name, in the order of the names."""
        text = dim_zero_cat(self.lines).cpu().numpy().tobytes().decode() if self.update_called else ""
        return dict(sorted(json.loads(line) for line in text.splitlines()))
