"""Golden files: tensors that an official implementation computed, and how ours compare with them."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

DEFAULT_TOLERANCE = 2e-5


@dataclass(frozen=True)
class GoldenCase:
    """One case: a configuration, and tensors going in and coming out.

    Attributes:
        name: file name without its ending.
        config: the sizes and options that the official code ran with.
        state: parameters under their official names (in the file with the prefix ``state.``).
        inputs: what was given (prefix ``in.``).
        outputs: what came out (prefix ``out.``).
        tolerance: largest allowed difference, absolute plus relative.
        info: the whole json file, with conventions and provenance.
    """

    name: str
    config: dict[str, Any]
    state: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    tolerance: float
    info: dict[str, Any]

    def assert_output(self, name: str, actual: Tensor) -> None:
        """Compare a tensor with the expected output of that name."""
        assert_close(actual, self.outputs[name], tolerance=self.tolerance, name=f"{self.name}: {name}")


def golden_folder(subject: str, default_folder: Path) -> Path | None:
    """Return where the cases of a subject are.

    Args:
        subject: sub-folder, such as ``"memotr"``.
        default_folder: the copy beside the tests: a folder with the sub-folder, or the sub-folder's files themselves.

    Returns:
        The sub-folder of the environment variable ``MNEMIC_GOLDEN_DIR`` if that is set (None if it has none: the
        subject is to be skipped), else that of the copy.

    Raises:
        FileNotFoundError: if neither is there.
    """
    if replacement := os.environ.get("MNEMIC_GOLDEN_DIR"):
        folder = Path(replacement) / subject
        return folder if folder.is_dir() else None
    for folder in (default_folder / subject, default_folder):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"no golden files for {subject} in {default_folder}; copy them there")


def golden_cases(subject: str, default_folder: Path, prefix: str = "") -> list[GoldenCase]:
    """Return every case of a subject whose name begins with ``prefix``, sorted by name.

    See :func:`golden_folder` for where they come from; there are none where a replaced folder lacks the subject.
    """
    folder = golden_folder(subject, default_folder)
    return [] if folder is None else [_load(path) for path in sorted(folder.glob(f"{prefix}*.json"))]


def assert_close(actual: Tensor, expected: Tensor, *, tolerance: float = DEFAULT_TOLERANCE, name: str = "") -> None:
    """Compare two tensors and say how far apart they are at most, and where.

    Args:
        actual: what was computed.
        expected: what should have been.
        tolerance: allowed difference, ``tolerance * (1 + abs(expected))``; for integers and booleans none is.
        name: what is compared, for the message.

    Raises:
        AssertionError: if the shapes differ or a value does. NaN equals only NaN.
    """
    what = name or "tensor"
    if actual.shape != expected.shape:
        raise AssertionError(f"{what}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}")
    found, wanted = (tensor.detach().cpu().to(torch.float64) for tensor in (actual, expected))
    allowed = tolerance if expected.is_floating_point() else 0.0
    if torch.allclose(found, wanted, rtol=allowed, atol=allowed, equal_nan=True):
        return
    # An infinite or missing value is the worst of all, so that it is the one reported.
    difference = (found - wanted).abs().nan_to_num(nan=torch.inf).masked_fill(found == wanted, 0)
    place = tuple(int(index) for index in torch.unravel_index(difference.argmax(), difference.shape))
    raise AssertionError(
        f"{what}: maximum difference {difference.max():.3g} at {list(place)} "
        f"({found[place]:.8g}, expected {wanted[place]:.8g}), allowed {allowed:g}"
    )


def _load(path: Path) -> GoldenCase:
    info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    tensors_path = path.with_suffix(".safetensors")
    tensors = load_file(tensors_path) if tensors_path.is_file() else {}
    return GoldenCase(
        name=path.stem,
        config=info.get("config", {}),
        state=_group(tensors, "state."),
        inputs=_group(tensors, "in."),
        outputs=_group(tensors, "out."),
        tolerance=_tolerance(info.get("tolerance")),
        info=info,
    )


def _group(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _tolerance(given: float | dict[str, float] | str | None) -> float:
    """Return the number in a json's tolerance: a number, ``{"atol": ...}`` or a sentence with ``atol 1e-5``."""
    if isinstance(given, int | float):
        return float(given)
    if isinstance(given, dict):
        return float(given.get("atol", given.get("rtol", DEFAULT_TOLERANCE)))
    stated = re.search(r"atol (\S+?)[,;.]?(?:\s|$)", given or "")
    return float(stated[1]) if stated else DEFAULT_TOLERANCE
