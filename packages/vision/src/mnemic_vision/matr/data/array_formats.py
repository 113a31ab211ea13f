"""Formats of arrays: npy, npz and HDF5 files, whose errors become one line."""

import importlib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from mnemic_core.errors import UserError

HDF5_SUFFIXES = (".h5", ".hdf5")
SUFFIXES = (".npy", ".npz", *HDF5_SUFFIXES)
_LONGEST_HEADER = 10_100  # bytes; numpy refuses longer ones
_DAMAGE = (  # what numpy, zipfile and h5py raise at damaged bytes
    *(ValueError, TypeError, KeyError, EOFError, OSError, RuntimeError, MemoryError, SyntaxError, TokenError),
    *(zipfile.BadZipFile, zlib.error),
)


class Header(NamedTuple):
    """Shape and type of an array in a file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@contextmanager
def in_one_line(path: Path) -> Iterator[None]:
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


def read_headers(path: Path, name: str | None) -> dict[str, Header]:
    """Return the headers of the arrays in a file by name, which is empty for npy.

    Args:
        path: the file.
        name: the only dataset or group to look at in an HDF5 file; None for all.
    """
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
        return _hdf5_headers(file, list(file) if name is None else [name])


def _hdf5_headers(file: Any, names: Sequence[str]) -> dict[str, Header]:
    """Return the headers of datasets and of those in groups."""
    items: dict[str, Any] = {}
    for name in names:
        is_group = not _is_array(file[name])
        items |= {f"{name}/{part}": file[name][part] for part in file[name]} if is_group else {name: file[name]}
    return {place: Header(tuple(item.shape), item.dtype) for place, item in items.items() if _is_array(item)}


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


def read_arrays(path: Path, keys: tuple[str, ...]) -> list[Shaped[np.ndarray, "..."]]:
    """Return arrays of a file by name; the only one for npy."""
    if path.suffix == ".npy":
        return [np.load(path, allow_pickle=False)]
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return [archive[key] for key in keys]
    with _open_hdf5(path) as file:
        return [file[key][()] for key in keys]


def _is_array(item: Any) -> bool:
    """Whether an object of an HDF5 file is a dataset, not a group or type."""
    return hasattr(item, "shape")


def _open_hdf5(path: Path) -> Any:
    try:
        h5py = importlib.import_module("h5py")
    except ImportError as error:
        raise UserError(f"{path}: HDF5 files need h5py: pip install 'mnemic-vision[hdf5]'") from error
    return h5py.File(path, "r")


def list_datasets(path: Path) -> list[str]:
    """Return the names at the top of an HDF5 file."""
    with in_one_line(path), _open_hdf5(path) as file:
        return list(file)
