"""Arrays in npy, npz and HDF5 files: their shapes without reading them, their rows as 32-bit floats."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from mnemic_core.errors import UserError
from mnemic_core.loading import name_some
from mnemic_vision.matr.data.array_formats import Header, in_one_line, read_arrays, read_headers
from mnemic_vision.matr.data.stream import StreamKind

# Names of arrays that make up the frames, put side by side, and what these consist of.
KNOWN_ARRAYS: dict[tuple[str, ...], StreamKind] = {
    ("joints",): "skeleton",
    ("imu",): "sensor",
    ("rgb", "flow"): "plain",
    ("features",): "plain",
    ("feats",): "plain",
    ("rgb",): "plain",
}


@dataclass(frozen=True)
class FrameFile:
    """Where the frames of a stream are.

    Attributes:
        path: the file.
        keys: arrays in it whose channels are put side by side; empty for npy, which holds only one.
        num_frames: rows.
        num_channels: width of a row, with the axes of an array after the first flattened.
        kind: what a frame consists of.
    """

    path: Path
    keys: tuple[str, ...]
    num_frames: int
    num_channels: int
    kind: StreamKind = "plain"

    def read(self, name: str) -> Float32[np.ndarray, "frame channel"]:
        """Return the frames.

        Args:
            name: of the stream, for messages.

        Raises:
            UserError: the file is damaged, or a value is NaN or infinite.
        """
        with in_one_line(self.path), np.errstate(over="ignore"):  # what overflows is found below
            parts = [
                np.asarray(array, dtype=np.float32).reshape(len(array), -1)
                for array in read_arrays(self.path, self.keys)
            ]
        frames = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        check_finite(frames, f"stream {name} ({self.path})")
        return frames


def check_finite(frames: Float32[np.ndarray, "frame channel"], source: str) -> None:
    """Refuse frames with values that are not finite.

    Raises:
        UserError: naming the source and the first such row.
    """
    bad = ~np.isfinite(frames).all(axis=1)
    if bad.any():
        raise UserError(
            f"{source} has NaN or infinity in {int(bad.sum())} of {len(frames)} rows, first in row {int(bad.argmax())} "
            "(from 0): interpolate or cut these rows"
        )


def open_frames(path: Path, name: str | None = None) -> FrameFile:
    """Return what a file holds for a stream, from its header.

    Args:
        path: npy, npz or HDF5 file.
        name: of the dataset or group, for an HDF5 file of several streams.

    Raises:
        UserError: the file is damaged, or does not hold one array of numbers with at least two axes.
    """
    with in_one_line(path):
        headers = read_headers(path, name)
    keys, kind = _choose_arrays(path, headers)
    for key in keys:
        _check_header(f"{path}, array {key}" if key else str(path), headers[key])
    lengths = {headers[key].shape[0] for key in keys}
    if len(lengths) > 1:
        raise UserError(f"{path}: the arrays {', '.join(keys)} have different lengths {sorted(lengths)}: extract again")
    width = sum(prod(headers[key].shape[1:]) for key in keys)
    return FrameFile(path, tuple(key for key in keys if key), lengths.pop(), width, kind)


def _choose_arrays(path: Path, headers: Mapping[str, Header]) -> tuple[tuple[str, ...], StreamKind]:
    by_name = {key.rpartition("/")[2]: key for key in headers}
    for names, kind in KNOWN_ARRAYS.items():
        if all(name in by_name for name in names):
            return tuple(by_name[name] for name in names), kind
    if len(headers) != 1:
        known = "; ".join(" and ".join(names) for names in KNOWN_ARRAYS)
        found = name_some(sorted(headers)) or "none"
        raise UserError(f"{path} holds the arrays {found}: expected one array, or arrays named {known}")
    return tuple(headers), "plain"


def _check_header(source: str, header: Header) -> None:
    if header.dtype.kind not in "fiu":
        what = "Python objects, which are never unpickled" if header.dtype.hasobject else str(header.dtype)
        raise UserError(f"{source} holds {what}: save the features as float32 or float16")
    if len(header.shape) < 2 or 0 in header.shape[1:]:
        raise UserError(f"{source} has shape {header.shape}: expected (frames, channels)")
