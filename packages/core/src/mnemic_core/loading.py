"""Reading weights without running code from their file, and loading them strictly."""

import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from mnemic_core.errors import UserError
from mnemic_core.tensor_file import check_file, read_tensors


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return the content of a ``.safetensors`` file or, by ``torch.load`` with weights only, of another checkpoint.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is truncated, no checkpoint, or holds more than tensors and plain data.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return dict(read_tensors(path)[0])
    check_file(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path} holds objects other than weights, or is no checkpoint: refused") from error
    # Damaged bytes lead torch's readers to errors of any class: struct, index, type, attribute, overflow, assertion.
    except Exception as error:
        raise UserError(f"{path} is truncated or not a checkpoint: copy or download it again") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise UserError(f"{path} holds a {type(content).__name__}, expected a dictionary of weights by name")
    return content


def read_state_dict(path: str | Path) -> dict[str, Shaped[Tensor, "..."]]:
    """Return the weights of a file, whether bare or under the keys ``model`` or ``state_dict``."""
    content = read_checkpoint(path)
    for key in ("model", "state_dict"):
        content = content[key] if isinstance(content.get(key), dict) else content
    weights = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not weights:
        raise UserError(f"{path} holds no weights")
    return weights


def rename(name: str, renames: Sequence[tuple[str, str]]) -> str:
    r"""Return a weight's name after all replacements of a regular expression, in order.

    Example:
        >>> rename("enc.0.w", [(r"^enc\.", "encoder."), (r"\.w$", ".weight")])
        'encoder.0.weight'
    """
    for pattern, replacement in renames:
        name = re.sub(pattern, replacement, name)
    return name


def load_exactly(module: nn.Module, weights: Mapping[str, Shaped[Tensor, "..."]], source: str | Path) -> None:
    """Load weights into a module, converted to its precision.

    Args:
        module: the module.
        weights: by the names of its ``state_dict``.
        source: their name in messages.

    Raises:
        UserError: naming what is missing, left over, of another shape, or not finite.
    """
    if misfit := describe_misfit(module, weights):
        raise UserError(f"{source} does not fit this model ({misfit}): check its kind, parts and sizes")
    check_finite(module, weights, source)
    module.load_state_dict(dict(weights))


def check_finite(module: nn.Module, weights: Mapping[str, Shaped[Tensor, "..."]], source: str | Path) -> None:
    """Refuse weights for a module that are NaN or infinite where new ones are not; masks may hold infinity.

    Raises:
        UserError: naming them.
    """
    new = module.state_dict()
    wrong = [
        name
        for name, weight in weights.items()
        if name in new and not bool(weight.isfinite().all()) and bool(new[name].isfinite().all())
    ]
    if wrong:
        raise UserError(
            f"{source} has weights that are NaN or infinite ({name_some(wrong)}): its training diverged or the file is "
            "damaged; use an earlier checkpoint or copy it again"
        )


def describe_misfit(module: nn.Module, weights: Mapping[str, Shaped[Tensor, "..."]]) -> str:
    """Return which weights for a module are missing, left over or of another shape; empty if they fit.

    Example:
        >>> describe_misfit(nn.Linear(2, 3), {"weight": torch.zeros(3, 4), "scale": torch.ones(3)})
        'missing bias; left over scale; other shape: weight is (3, 4), expected (3, 2)'
    """
    wanted = module.state_dict()
    shared = sorted(wanted.keys() & weights.keys())
    problems = {
        "missing": sorted(wanted.keys() - weights.keys()),
        "left over": sorted(weights.keys() - wanted.keys()),
        "other shape:": [
            f"{name} is {tuple(weights[name].shape)}, expected {tuple(wanted[name].shape)}"
            for name in shared
            if weights[name].shape != wanted[name].shape
        ],
        "other type:": [
            f"{name} is {weights[name].dtype}, expected {wanted[name].dtype}"
            for name in shared
            # Averaged checkpoints, such as ESPnet's, hold the counts of batch norm as floating-point numbers.
            if not (weights[name].dtype == wanted[name].dtype or weights[name].is_floating_point())
        ],
    }
    return "; ".join(f"{what} {name_some(names)}" for what, names in problems.items() if names)


def name_some(names: Sequence[str]) -> str:
    """Return the first four names, and how many more there are."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
