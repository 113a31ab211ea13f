"""Streams without annotations: an array file, or all those in a folder."""

from functools import partial
from pathlib import Path

from mnemic_core.errors import UserError, check_at_least
from mnemic_vision.matr.data.array_files import KNOWN_ARRAYS
from mnemic_vision.matr.data.array_formats import HDF5_SUFFIXES, SUFFIXES, list_datasets
from mnemic_vision.matr.data.feature_files import open_stream_files
from mnemic_vision.matr.data.problems import OnProblem, raise_problem
from mnemic_vision.matr.data.stream import ActionStream, ActionStreams


def open_streams(source: str | Path, frame_rate: float, *, on_problem: OnProblem = raise_problem) -> ActionStreams:
    """Open streams of features, skeletons or sensors; their frames are read when they are needed.

    Args:
        source: npy, npz or HDF5 file, the latter with one or several streams; or a folder of such files.
        frame_rate: rows per second.
        on_problem: gets what is wrong with a stream, which is then left out; the default raises it.

    Raises:
        FileNotFoundError: there is no such file or folder.
        UserError: there is no stream in it, or one is damaged or of another width.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> path = Path(tempfile.mkdtemp()) / "walk.npy"
        >>> np.save(path, np.zeros((50, 6), np.float32))
        >>> open_streams(path, frame_rate=10.0).streams[0].duration
        5.0
    """
    source = Path(source)
    if not source.exists():
        raise FileNotFoundError(f"there is no file or folder {source}")
    check_at_least(1e-6, frame_rate=frame_rate)
    paths = sorted(source.rglob("*")) if source.is_dir() else [source]
    paths = [path for path in paths if path.suffix in SUFFIXES and path.is_file() and not path.name.startswith(".")]
    if not paths:
        raise UserError(f"{source} has no stream: expected files {', '.join(SUFFIXES)}")
    names = {name: name for path in paths for name in _list_streams(path)}
    files = open_stream_files([source], names, 1, on_problem)
    streams = [
        ActionStream(name, each.num_frames / frame_rate, each.num_frames, (), partial(each.read, name))
        for name, each in files.items()
    ]
    first = next(iter(files.values()), None)
    return ActionStreams(streams, (), *((first.num_channels, first.kind) if first else (0, "plain")))


def _list_streams(path: Path) -> list[str]:
    """Return the streams in a file: one of its name, or the datasets of an HDF5 file that are no parts of one."""
    datasets = list_datasets(path) if path.suffix in HDF5_SUFFIXES else []
    parts = {name for names in KNOWN_ARRAYS for name in names}
    return [path.stem] if len(datasets) < 2 or parts.intersection(datasets) else datasets
