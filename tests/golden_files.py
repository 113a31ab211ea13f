"""Golden files: tensors computed by official implementations, for comparison with ours."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from mnemic_core.testing.comparison import DEFAULT_TOLERANCE, assert_close


@dataclass(frozen=True)
class GoldenCase:
    """Configuration, inputs and outputs of an official implementation.

    Attributes:
        name: file name without suffix.
        config: sizes and options of the official code.
        state: parameters under their official names (prefix ``state.`` in the file).
        inputs: prefix ``in.``.
        outputs: prefix ``out.``.
        tensors: all by their names in the file, for files that hold several cases.
        tolerance: largest allowed difference, absolute plus relative.
        info: the complete JSON file, with conventions and provenance.
    """

    name: str
    config: dict[str, Any]
    state: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    tensors: dict[str, Tensor]
    tolerance: float
    info: dict[str, Any]

    def assert_output(self, name: str, actual: Tensor) -> None:
        """Compare a tensor with the expected output of that name."""
        assert_close(actual, self.outputs[name], tolerance=self.tolerance, name=f"{self.name}: {name}")


def golden_folder(subject: str, default_folder: Path) -> Path | None:
    """Return the folder with the cases of a subject.

    Args:
        subject: such as ``"memotr"``.
        default_folder: a folder with the subject's files, or with a subfolder of that name.

    Returns:
        The subfolder of the environment variable ``MNEMIC_GOLDEN_DIR`` if that is set, None to skip the subject if it
        has none; else the default.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    if replacement := os.environ.get("MNEMIC_GOLDEN_DIR"):
        folder = Path(replacement) / subject
        return folder if folder.is_dir() else None
    for folder in (default_folder / subject, default_folder):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"no golden files for {subject} in {default_folder}; copy them there")


def golden_cases(subject: str, default_folder: Path, prefix: str = "") -> list[GoldenCase]:
    """Return the cases of a subject in its :func:`golden_folder` whose names begin with ``prefix``, by name."""
    folder = golden_folder(subject, default_folder)
    return [] if folder is None else [_load(path) for path in sorted(folder.glob(f"{prefix}*.json"))]


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
        tensors=tensors,
        tolerance=_tolerance(info.get("tolerance")),
        info=info,
    )


def _group(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _tolerance(given: float | dict[str, float] | str | None) -> float:
    """Return the tolerance of a number, of ``{"atol": ...}`` or of a sentence with ``atol 1e-5``."""
    if isinstance(given, int | float):
        return float(given)
    if isinstance(given, dict):
        return float(given.get("atol", given.get("rtol", DEFAULT_TOLERANCE)))
    stated = re.search(r"atol (\S+?)[,;.]?(?:\s|$)", given or "")
    return float(stated[1]) if stated else DEFAULT_TOLERANCE
