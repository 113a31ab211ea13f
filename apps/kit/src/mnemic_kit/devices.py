"""Where to compute."""

from typing import Literal

import torch

from mnemic_core.errors import UserError

Device = Literal["auto", "cpu", "cuda"]


def find_device(name: Device) -> torch.device:
    """Return the device of a name; ``auto`` is a GPU where there is one.

    Raises:
        UserError: if there is no such device in this machine.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: this machine has no usable CUDA device, use cpu or auto")
    return torch.device("cuda" if name == "auto" and torch.cuda.is_available() else name.replace("auto", "cpu"))
