"""The streams of a source, with the annotations in its folder or the one above."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from mnemic_actions.manifest import feature_rates
from mnemic_core.errors import UserError, check_at_least
from mnemic_kit.problems import Problems
from mnemic_vision.matr.data import ActionStream, ActionStreams, FeatureSet, open_streams
from mnemic_vision.matr.data.array_formats import SUFFIXES

ANNOTATIONS = "annotations.json"


@dataclass(frozen=True)
class OpenedStreams:
    """The streams of a source.

    Attributes:
        data: the streams that can be used.
        annotated: names of those with annotations.
        problems: one line for each stream or annotation that cannot be used.
    """

    data: ActionStreams
    annotated: frozenset[str] = frozenset()
    problems: list[UserError] = field(default_factory=list)


def is_stream_source(source: Path) -> bool:
    """Return whether a source holds streams: an array file, or a folder with such files."""
    if not source.is_dir():
        return source.suffix in SUFFIXES
    return any(path.suffix in SUFFIXES and not path.name.startswith(".") for path in source.rglob("*"))


def open_source(source: Path) -> OpenedStreams:
    """Open the streams of an array file or a folder of them.

    Streams that ``annotations.json`` in the source's folder, or in the one above, names have its actions and duration.
    Others last a second a frame: their true rate is not in their file.

    Raises:
        FileNotFoundError: there is no such file or folder.
        UserError: there is no stream in it, or the only one cannot be used.
        SystemExit: none of several can be used; each problem was shown as a line.
    """
    problems: list[UserError] = []
    data = open_streams(source, frame_rate=1.0, on_problem=problems.append)
    if not data.streams:
        Problems(problems).end("failed")
    found: dict[str, ActionStream] = {}
    if (annotations := find_annotations(source)) is not None:
        try:
            found = _read_annotated(annotations, source, data, problems)
        except UserError as error:  # the complete file
            problems.append(error)
    streams = [found.get(stream.name, stream) for stream in data]
    return OpenedStreams(replace(data, streams=streams), frozenset(found), problems)


def find_annotations(source: Path) -> Path | None:
    """Return the annotation file in the folder of a source, or in the one above; None if there is none."""
    folder = source if source.is_dir() else source.parent
    files = (place / ANNOTATIONS for place in (folder, folder.resolve().parent))
    return next((file for file in files if file.is_file()), None)


def _read_annotated(
    annotations: Path, source: Path, data: ActionStreams, problems: list[UserError]
) -> dict[str, ActionStream]:
    """Return the annotated streams by name; what is wrong with an annotation of the source goes to the problems."""
    faults: list[UserError] = []
    files = FeatureSet(annotations, (source,), ignored_labels=()).open(on_problem=faults.append)
    known = {str(problem) for problem in problems}
    # Faults of streams that are not in the source are no concern of it.
    problems += [
        fault for fault in faults if str(fault) not in known and any(_names(fault, stream.name) for stream in data)
    ]
    return {stream.name: stream for stream in files}


def _names(fault: UserError, stream: str) -> bool:
    return re.search(rf"\b(video|stream) {re.escape(stream)}(?=[\s:,]|$)", str(fault)) is not None


def timed_stream(stream: ActionStream, source: Path, frame_rate: float | None, usual: float | None) -> ActionStream:
    """Return a stream with the number of frames per second that it has.

    Args:
        stream: of the source.
        source: its file or folder, in which ``extract`` may have written a manifest.
        frame_rate: what the user gave, which comes first.
        usual: frames per second by default; None: those of the stream are known.

    Raises:
        UserError: the rate is not above 0.
    """
    if frame_rate is None and usual is None:
        return stream
    check_at_least(1e-3, **{"--frame_rate": frame_rate})
    rate = frame_rate or feature_rates(source if source.is_dir() else source.parent).get(stream.name) or usual or 1.0
    return replace(stream, duration=stream.num_frames / rate)


def check_length(stream: ActionStream, window: int) -> None:
    """Refuse a stream that is shorter than what the network sees at a time.

    Raises:
        UserError: with both lengths.
    """
    if stream.num_frames < window:
        raise UserError(
            f"stream {stream.name} has {stream.num_frames} frames, fewer than the window of {window} that the network "
            "sees: give a longer one"
        )
