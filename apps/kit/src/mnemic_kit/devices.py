"""Where to compute."""

from typing import TYPE_CHECKING, Literal

from mnemic_core.errors import UserError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]


def find_device(name: Device) -> "torch.device":
    """Return the device of a name; ``auto`` is a GPU where there is one.

    Raises:
        UserError: if there is no such device in this machine.
    """
    import torch  # only here: the help of every command that computes imports this module

    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: this machine has no usable CUDA device, use cpu or auto")
    return torch.device("cuda" if name == "auto" and torch.cuda.is_available() else name.replace("auto", "cpu"))
