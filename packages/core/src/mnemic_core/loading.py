"""Reading weight files without running anything that they contain, and what keeps weights from fitting a module."""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mnemic_core.errors import UserError


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return the content of a ``.safetensors`` file or of a checkpoint that ``torch.load`` reads with weights only.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is truncated, no checkpoint, or holds more than tensors and plain data.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return dict(read_tensors(path))
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path} holds objects other than weights, or is no checkpoint: refused") from error
    except (RuntimeError, EOFError, BadZipFile, KeyError, OSError) as error:
        raise UserError(f"{path} is truncated or not a checkpoint: copy or download it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, expected a dictionary of weights")
    return content


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, whatever its name ends with.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is truncated or no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is truncated or not a checkpoint: copy or download it again") from error


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Return the weights of a file, whether bare or under the keys ``model`` or ``state_dict``."""
    content = read_checkpoint(path)
    for key in ("model", "state_dict"):
        content = content[key] if isinstance(content.get(key), dict) else content
    weights = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if not weights:
        raise UserError(f"{path} holds no weights")
    return weights


def describe_misfit(module: nn.Module, weights: Mapping[str, Tensor]) -> str:
    """Return what is missing, left over or of another shape in weights for a module, by name; empty if they fit.

    Example:
        >>> describe_misfit(nn.Linear(2, 3), {"weight": torch.zeros(3, 4), "scale": torch.ones(3)})
        'missing bias; left over scale; other shape: weight is (3, 4), expected (3, 2)'
    """
    wanted = module.state_dict()
    problems = {
        "missing": sorted(wanted.keys() - weights.keys()),
        "left over": sorted(weights.keys() - wanted.keys()),
        "other shape:": [
            f"{name} is {tuple(weights[name].shape)}, expected {tuple(wanted[name].shape)}"
            for name in sorted(wanted.keys() & weights.keys())
            if weights[name].shape != wanted[name].shape
        ],
    }
    return "; ".join(f"{what} {name_some(names)}" for what, names in problems.items() if names)


def name_some(names: Sequence[str]) -> str:
    """Return the first four names, and how many more there are."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
