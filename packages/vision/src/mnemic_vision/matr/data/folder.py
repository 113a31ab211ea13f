"""Annotated streams in a folder: ``annotations.json`` and one array file for each stream."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_core.loading import name_some
from mnemic_vision.matr.actions import Action
from mnemic_vision.matr.data.annotations import AnnotatedVideo, read_annotation_file
from mnemic_vision.matr.data.array_files import HDF5_SUFFIXES, SUFFIXES, FrameFile, list_datasets, open_frames
from mnemic_vision.matr.data.problems import OnProblem, raise_problem
from mnemic_vision.matr.data.stream import ActionStream, ActionStreams

ANNOTATIONS = "annotations.json"


@dataclass(frozen=True)
class FramePlace:
    """Where a stream's frames are found: a file, and for a file of several streams the name in it."""

    path: Path
    dataset: str | None = None


def read_annotated_streams(
    folder: str | Path, subset: str | None = None, *, on_problem: OnProblem = raise_problem
) -> ActionStreams:
    """Open the streams of a folder; their frames are read when they are needed.

    The folder holds ``annotations.json`` with ``classes`` and, by stream name in ``database``, ``subset``, ``duration``
    in seconds, ``annotations`` of ``label`` and ``segment``, and optionally ``num_steps`` and ``fps``, the frames
    and frames per second of the stream. In any folder below lies ``NAME.npy``, ``NAME.npz`` (arrays `joints`, `imu`,
    `features`, or `rgb` and `flow`) or ``NAME.h5`` for each, or one HDF5 file of them all.

    Args:
        folder: the folder.
        subset: such as ``"train"``; None for all streams.
        on_problem: gets what is wrong with a stream, which is then left out; the default raises it.

    Raises:
        FileNotFoundError: there is no such folder or no ``annotations.json`` in it.
        UserError: the annotations are malformed, files are missing, or a stream is wrong.

    Example:
        >>> import tempfile
        >>> from mnemic_vision.matr.data import GeneratedActions
        >>> place = Path(tempfile.mkdtemp()) / "made"
        >>> GeneratedActions(num_streams=3, num_frames=100).write(place)
        >>> train = read_annotated_streams(place, "train")
        >>> len(train), train.num_channels, train.streams[0].load().shape
        (3, 16, (100, 16))
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; give one with {ANNOTATIONS} and its streams")
    annotated = read_annotation_file(folder / ANNOTATIONS, on_problem=on_problem)
    videos = annotated.select(subset)
    files = open_frame_files(find_frames(folder), videos, str(folder), on_problem)
    streams = []
    for video in videos:
        if video.name not in files:
            continue
        try:
            streams.append(_make_stream(video, files[video.name]))
        except UserError as error:
            on_problem(UserError(f"{annotated.path}: {error}"))
    opened = [files[stream.name] for stream in streams]
    width, kind = (opened[0].num_channels, opened[0].kind) if opened else (0, "plain")
    return ActionStreams(streams, annotated.classes, width, kind)


def find_frames(folder: Path) -> dict[str, list[FramePlace]]:
    """Return the array files below a folder by the name of the stream, which is theirs or that of an HDF5 dataset."""
    places: dict[str, list[FramePlace]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in SUFFIXES and path.is_file() and not path.name.startswith("."):
            places.setdefault(path.stem, []).append(FramePlace(path))
    return places


def open_frame_files(
    places: Mapping[str, list[FramePlace]], videos: list[AnnotatedVideo], source: str, on_problem: OnProblem
) -> dict[str, FrameFile]:
    """Return the frames of videos by name, all of one width.

    Args:
        places: as found in a folder.
        videos: those to open.
        source: name of the folder in messages.
        on_problem: gets what is wrong with a video, which is then left out.
    """
    names = [video.name for video in videos]
    places = dict(places) | _find_datasets(places, names)
    if missing := [name for name in names if name not in places]:
        on_problem(
            UserError(
                f"{source} has no features of {len(missing)} of {len(names)} videos ({name_some(missing)}): "
                f"add files such as {missing[0]}.npy, or remove these videos from the annotations"
            )
        )
    files: dict[str, FrameFile] = {}
    for name in names:
        try:
            if name in places:
                files[name] = _open_one(name, places[name], next(iter(files.items()), None))
        except UserError as error:
            on_problem(error)
    return files


def _find_datasets(places: Mapping[str, list[FramePlace]], names: list[str]) -> dict[str, list[FramePlace]]:
    """Return the datasets of HDF5 files that are not named after a video themselves."""
    wanted, found = set(names), dict[str, list[FramePlace]]()
    others = [place for name, group in places.items() if name not in wanted for place in group]
    for place in others:
        if place.path.suffix not in HDF5_SUFFIXES:
            continue
        for dataset in wanted.intersection(list_datasets(place.path)):
            found.setdefault(dataset, list(places.get(dataset, ()))).append(FramePlace(place.path, dataset))
    return found


def _open_one(name: str, places: list[FramePlace], first: tuple[str, FrameFile] | None) -> FrameFile:
    if len(places) > 1:
        paths = name_some([str(place.path) for place in places])
        raise UserError(f"stream {name} has {len(places)} files ({paths}): keep one of them")
    file = open_frames(places[0].path, places[0].dataset)
    if file.num_frames == 0:
        raise UserError(f"stream {name} is empty ({file.path} has no frames): extract it again or remove it")
    if first is not None and file.num_channels != first[1].num_channels:
        raise UserError(
            f"stream {name} has {file.num_channels} channels, but {first[0]} has {first[1].num_channels}: "
            "all must have the same features"
        )
    return file


def _make_stream(video: AnnotatedVideo, file: FrameFile) -> ActionStream:
    """Return the stream after checking its annotations against its frames."""
    duration = _duration_of_frames(video, file)
    stream = ActionStream(video.name, duration, file.num_frames, (), partial(file.read, video.name))
    return replace(stream, actions=fit_actions(video, stream))


def _duration_of_frames(video: AnnotatedVideo, file: FrameFile) -> float:
    """Return the duration in seconds; from the frame rate where the annotations give the number of frames too."""
    steps, rate = video.numbers.get("num_steps"), video.numbers.get("fps")
    if steps is None:
        return video.duration
    if steps != file.num_frames:
        raise UserError(f"stream {video.name} has num_steps {steps:g}, but {file.path} has {file.num_frames} rows")
    if rate is None or rate <= 0:
        return video.duration
    if abs(file.num_frames / rate - video.duration) > 1.01 / rate:  # some count the frames, some the steps between them
        raise UserError(
            f"stream {video.name} has {file.num_frames} frames at {rate:g} per second, but a duration of "
            f"{video.duration:g} s: correct fps or duration"
        )
    return file.num_frames / rate


def fit_actions(video: AnnotatedVideo, stream: ActionStream) -> tuple[Action, ...]:
    """Return the actions of a video within its stream; what lies outside by one frame or less is cut.

    Raises:
        UserError: an action lies further outside.
    """
    first, last = 0.0, max(video.duration, stream.duration)
    for action in video.actions:
        if action.start < first - stream.frame_time or action.end > last + stream.frame_time:
            raise UserError(
                f"video {video.name} is {last:g} s long, but an annotation ({action.label}) lasts from "
                f"{action.start:g} to {action.end:g} s: correct it, or give the features of the whole video"
            )
    fitted = (replace(each, start=max(each.start, first), end=min(each.end, last)) for each in video.actions)
    return tuple(action for action in fitted if action.end > action.start)
