"""Finding the array files of streams by name, and opening them with one width for all."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from mnemic_core.errors import UserError
from mnemic_core.loading import name_some
from mnemic_vision.matr.data.array_files import FrameFile, open_frames
from mnemic_vision.matr.data.array_formats import HDF5_SUFFIXES, SUFFIXES, list_datasets
from mnemic_vision.matr.data.problems import OnProblem
from mnemic_vision.matr.data.stream import StreamKind


@dataclass(frozen=True)
class FramePlace:
    """A file, and for one of several streams the name in it."""

    path: Path
    dataset: str | None = None

    def __str__(self) -> str:
        return f"{self.path}/{self.dataset}" if self.dataset else str(self.path)


@dataclass(frozen=True)
class StreamFiles:
    """The files of a stream, whose channels are put side by side, such as color and optical flow.

    Attributes:
        files: of lengths that differ by one frame at most; the shortest counts.
        step: every how many-th row is a frame.
    """

    files: tuple[FrameFile, ...]
    step: int = 1

    @property
    def num_frames(self) -> int:
        """Frames of the stream."""
        return -(-min(file.num_frames for file in self.files) // self.step)

    @property
    def num_channels(self) -> int:
        """Width of a frame."""
        return sum(file.num_channels for file in self.files)

    @property
    def kind(self) -> StreamKind:
        """What a frame consists of."""
        return self.files[0].kind if len(self.files) == 1 else "plain"

    def read(self, name: str) -> Float32[np.ndarray, "frame channel"]:
        """Return the frames; arguments and errors are those of `FrameFile.read`."""
        length = min(file.num_frames for file in self.files)
        parts = [file.read(name)[: length : self.step] for file in self.files]
        return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


def open_stream_files(
    folders: Sequence[Path], file_names: Mapping[str, str], step: int, on_problem: OnProblem
) -> dict[str, StreamFiles]:
    """Open the files of streams, all of one width.

    Args:
        folders: folders, or HDF5 files, each of which has a part of the channels.
        file_names: name of the file, without its ending, or of the HDF5 dataset for each stream.
        step: every how many-th row is a frame.
        on_problem: gets what is wrong with a stream, which is then left out; so are streams of another width than
            most.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    found = [_find_all(folder, set(file_names.values())) for folder in folders]
    for folder, places in zip(folders, found, strict=True):
        if missing := [name for name, file_name in file_names.items() if file_name not in places]:
            on_problem(_missing_features(folder, missing, len(file_names)))
    opened: dict[str, StreamFiles] = {}
    for name, file_name in file_names.items():
        try:
            if all(file_name in places for places in found):
                opened[name] = _open_stream(name, [places[file_name] for places in found], step)
        except UserError as error:
            on_problem(error)
    return _with_usual_width(opened, on_problem)


def _find_all(folder: Path, wanted: set[str]) -> dict[str, list[FramePlace]]:
    """Return the files below a folder by stream, and the datasets in HDF5 files that are of several streams."""
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder of features {folder}")
    paths = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
    places: dict[str, list[FramePlace]] = {}
    for path in paths:
        if path.suffix not in SUFFIXES or path.name.startswith(".") or not path.is_file():
            continue
        if path.stem in wanted:
            places.setdefault(path.stem, []).append(FramePlace(path))
        elif path.suffix in HDF5_SUFFIXES:
            for name in wanted.intersection(list_datasets(path)):
                places.setdefault(name, []).append(FramePlace(path, name))
    return places


def _missing_features(folder: Path, names: list[str], total: int) -> UserError:
    return UserError(
        f"{folder} has no features of {len(names)} of {total} streams ({name_some(names)}): add files such as "
        f"{names[0]}.npy, or remove these streams from the annotations"
    )


def _open_stream(name: str, places: Sequence[list[FramePlace]], step: int) -> StreamFiles:
    for group in places:
        if len(group) > 1:
            raise UserError(
                f"stream {name} has {len(group)} files ({name_some([str(place) for place in group])}): keep one of them"
            )
    files = tuple(open_frames(group[0].path, group[0].dataset) for group in places)
    lengths = [file.num_frames for file in files]
    if min(lengths) == 0:
        raise UserError(f"stream {name} is empty ({files[lengths.index(0)].path} has no frames): extract it again")
    if max(lengths) - min(lengths) > 1:
        paths = ", ".join(f"{file.path} has {file.num_frames}" for file in files)
        raise UserError(f"stream {name} has parts of different lengths ({paths} rows): extract them with one stride")
    return StreamFiles(files, step)


def _with_usual_width(opened: dict[str, StreamFiles], on_problem: OnProblem) -> dict[str, StreamFiles]:
    """Return the streams whose width most have, the first ones if equally many have another."""
    widths = Counter(files.num_channels for files in opened.values())
    usual = next((width for width, _ in widths.most_common(1)), 0)
    first = next((name for name, files in opened.items() if files.num_channels == usual), "")
    for name, files in opened.items():
        if files.num_channels != usual:
            on_problem(
                UserError(
                    f"stream {name} has {files.num_channels} channels, but {first} has {usual}: all must have the same "
                    "features"
                )
            )
    return {name: files for name, files in opened.items() if files.num_channels == usual}
