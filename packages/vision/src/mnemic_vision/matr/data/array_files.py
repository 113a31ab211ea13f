"""Arrays in npy, npz and HDF5 files: their shapes without reading them, their rows as 32-bit floats."""

import importlib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Shaped

from mnemic_core.errors import UserError
from mnemic_core.loading import name_some
from mnemic_vision.matr.data.stream import StreamKind

HDF5_SUFFIXES = (".h5", ".hdf5")
SUFFIXES = (".npy", ".npz", *HDF5_SUFFIXES)
# Names of arrays that make up the frames, put side by side, and what these consist of.
KNOWN_ARRAYS: dict[tuple[str, ...], StreamKind] = {
    ("joints",): "skeleton",
    ("imu",): "sensor",
    ("rgb", "flow"): "plain",
    ("features",): "plain",
    ("feats",): "plain",
    ("rgb",): "plain",
}
_LONGEST_HEADER = 10_100  # bytes; numpy refuses longer ones
_DAMAGE = (  # what numpy, zipfile and h5py raise at damaged bytes
    *(ValueError, TypeError, KeyError, EOFError, OSError, RuntimeError, MemoryError, SyntaxError, TokenError),
    *(zipfile.BadZipFile, zlib.error),
)


class Header(NamedTuple):
    """Shape and type of an array in a file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


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
        with _one_line(self.path), np.errstate(over="ignore"):  # what overflows is found below
            parts = [
                np.asarray(array, dtype=np.float32).reshape(len(array), -1)
                for array in _read_arrays(self.path, self.keys)
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
    with _one_line(path):
        headers = _read_headers(path, name)
    keys, kind = _choose_arrays(path, headers)
    for key in keys:
        _check_header(f"{path}, array {key}" if key else str(path), headers[key])
    lengths = {headers[key].shape[0] for key in keys}
    if len(lengths) > 1:
        raise UserError(f"{path}: the arrays {', '.join(keys)} have different lengths {sorted(lengths)}: extract again")
    width = sum(prod(headers[key].shape[1:]) for key in keys)
    return FrameFile(path, tuple(key for key in keys if key), lengths.pop(), width, kind)


def list_datasets(path: Path) -> list[str]:
    """Return the names at the top of an HDF5 file."""
    with _one_line(path), _open_hdf5(path) as file:
        return list(file)


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


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Turn the errors of readers at a damaged file into one line."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no file {path}") from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} cannot be read ({reason:.120}): copy or extract it again") from error


def _read_headers(path: Path, name: str | None) -> dict[str, Header]:
    if path.suffix == ".npy":
        with path.open("rb") as file:
            header, length = _parse_npy(file.read(_LONGEST_HEADER))
        expected = prod(header.shape) * header.dtype.itemsize
        found = path.stat().st_size - length
        if not header.dtype.hasobject and found < expected:
            raise UserError(f"{path} is cut off, {expected - found} bytes are missing: copy or extract it again")
        return {"": header}
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            members = [key for key in archive.namelist() if key.endswith(".npy")]
            return {key.removesuffix(".npy"): _member_header(archive, key) for key in members}
    with _open_hdf5(path) as file:
        top = list(file) if name is None else [name]
        arrays: dict[str, Header] = {}
        for key in top:
            inside = (
                {f"{key}/{part}": file[key][part] for part in file[key]} if _is_group(file[key]) else {key: file[key]}
            )
            arrays |= {place: Header(tuple(each.shape), each.dtype) for place, each in inside.items()}
        return arrays


def _member_header(archive: zipfile.ZipFile, key: str) -> Header:
    with archive.open(key) as member:
        return _parse_npy(member.read(_LONGEST_HEADER))[0]


def _parse_npy(beginning: bytes) -> tuple[Header, int]:
    """Return the header of an npy file and its length in bytes."""
    file = BytesIO(beginning)
    version = np.lib.format.read_magic(file)
    readers: dict[tuple[int, int], Callable[[BytesIO], tuple[tuple[int, ...], bool, np.dtype[Any]]]] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:  # version 3 is for names of fields beyond Latin letters
        raise ValueError(f"version {version} of the npy format")
    shape, _, dtype = readers[version](file)
    return Header(shape, dtype), file.tell()


def _read_arrays(path: Path, keys: tuple[str, ...]) -> list[Shaped[np.ndarray, "..."]]:
    if path.suffix == ".npy":
        return [np.load(path, allow_pickle=False)]
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return [archive[key] for key in keys]
    with _open_hdf5(path) as file:
        return [file[key][()] for key in keys]


def _is_group(item: Any) -> bool:
    return not hasattr(item, "shape")


def _open_hdf5(path: Path) -> Any:
    try:
        h5py = importlib.import_module("h5py")
    except ImportError as error:
        raise UserError(f"{path}: HDF5 files need h5py: pip install 'mnemic-vision[hdf5]'") from error
    return h5py.File(path, "r")
