"""Reading weight files without running anything that they contain."""

import pickle
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return the content of a ``.safetensors`` file or of a checkpoint that ``torch.load`` reads with weights only.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is truncated, no checkpoint, or holds more than tensors and plain data.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return dict(read_tensors(path))
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} holds objects other than weights, or is no checkpoint: refused") from error
    except (RuntimeError, EOFError, BadZipFile, KeyError, OSError) as error:
        raise ValueError(f"{path} is truncated or not a checkpoint: copy or download it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected a dictionary of weights")
    return content


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, whatever its name ends with.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is truncated or no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is truncated or not a checkpoint: copy or download it again") from error


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Return the weights of a file, whether bare or under the keys ``model`` or ``state_dict``."""
    content = read_checkpoint(path)
    for key in ("model", "state_dict"):
        content = content[key] if isinstance(content.get(key), dict) else content
    weights = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if not weights:
        raise ValueError(f"{path} holds no weights")
    return weights
