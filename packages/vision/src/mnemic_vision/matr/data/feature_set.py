"""Data sets with annotations in ActivityNet's format and features in array files, and how they differ."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from pathlib import Path

from mnemic_core.errors import UserError, check_range
from mnemic_vision.matr.actions import Action
from mnemic_vision.matr.data.annotations import AnnotatedVideo, read_annotation_file
from mnemic_vision.matr.data.feature_files import StreamFiles, open_stream_files
from mnemic_vision.matr.data.problems import OnProblem, raise_problem
from mnemic_vision.matr.data.stream import ActionStream, ActionStreams

# Features may end a clip before the video does; a wrong stride is off by much more.
TOLERATED_SECONDS, TOLERATED_SHARE = 2.0, 0.1


@dataclass(frozen=True)
class FeatureSet:
    """Where a data set lies and how its features belong to time.

    Without ``feature_stride`` the duration of a video is shared among its frames, as in the official code of MATR.

    Attributes:
        annotations: json file in ActivityNet's format.
        features: folders, or HDF5 files, with an array for each video; their channels are put side by side.
        classes: text file with one class a line; None: those of the annotations.
        missing: text file with one video a line; these are left out.
        file_name: of the array of a video, such as ``"v_{name}"``.
        ignored_labels: of annotations to leave out.
        feature_stride: frames of the video from one row to the next.
        sample_stride: every how many-th row is used.
        offset_frames: frame of the video that the first row belongs to, such as the middle of its clip.
        lookahead_frames: frames of the video behind that one which the features have seen; None: as many as
            ``offset_frames``, if that is the middle of a clip.
        keep_outside: keep annotations beyond the end of a video, which count as missed, instead of refusing them.

    Example:
        >>> import tempfile
        >>> from mnemic_vision.matr.data import GeneratedActions
        >>> root = Path(tempfile.mkdtemp()) / "made"
        >>> GeneratedActions(num_streams=2, num_frames=100).write(root)
        >>> [stream.num_frames for stream in FeatureSet(root / "annotations.json", (root / "streams",)).open("train")]
        [100, 100]
    """

    annotations: Path
    features: tuple[Path, ...]
    classes: Path | None = None
    missing: Path | None = None
    file_name: str = "{name}"
    ignored_labels: tuple[str, ...] = ("Ambiguous",)
    feature_stride: int | None = None
    sample_stride: int = 1
    offset_frames: int = 0
    lookahead_frames: int | None = None
    keep_outside: bool = False

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "sample_stride")
        check_range(self, 0, inf, "feature_stride", "offset_frames", "lookahead_frames")
        if not self.features or "{name}" not in self.file_name:
            raise UserError("a data set needs folders of features, and {name} in file_name")
        if self.feature_stride is None and (self.offset_frames or self.lookahead_frames):
            raise UserError("offset_frames and lookahead_frames need feature_stride")

    def open(self, subset: str | None = None, *, on_problem: OnProblem = raise_problem) -> ActionStreams:
        """Open the streams; their frames are read when they are needed.

        Args:
            subset: such as ``"train"``; None for all.
            on_problem: gets what is wrong with a stream, which is then left out; the default raises it.

        Raises:
            FileNotFoundError: a file or folder is missing.
            UserError: the annotations are malformed, or a stream is wrong.
        """
        classes = None if self.classes is None else _read_lines(self.classes)
        annotated = read_annotation_file(
            self.annotations, classes, ignored_labels=self.ignored_labels, on_problem=on_problem
        )
        left_out = frozenset(_read_lines(self.missing)) if self.missing is not None else frozenset()
        videos = [video for video in annotated.select(subset) if video.name not in left_out]
        names = {video.name: self.file_name.replace("{name}", video.name) for video in videos}
        files = open_stream_files(self.features, names, self.sample_stride, on_problem)
        streams = []
        for video in videos:
            with _reporting(on_problem):
                if video.name in files:
                    streams.append(self._make_stream(video, files[video.name]))
        first = next(iter(files.values()), None)
        width, kind = (first.num_channels, first.kind) if first else (0, "plain")
        return ActionStreams(streams, annotated.classes, width, kind)

    def _make_stream(self, video: AnnotatedVideo, files: StreamFiles) -> ActionStream:
        load = partial(files.read, video.name)
        if self.feature_stride is None:
            stream = ActionStream(video.name, _measured_duration(video, files.num_frames), files.num_frames, (), load)
        else:
            rate = _frame_rate(video)
            stream = ActionStream(
                video.name,
                duration=files.num_frames * self.feature_stride * self.sample_stride / rate,
                num_frames=files.num_frames,
                actions=(),
                load=load,
                offset=self.offset_frames / rate,
                lookahead=(self.offset_frames if self.lookahead_frames is None else self.lookahead_frames) / rate,
            )
            _check_stride(video, stream)
        return replace(stream, actions=video.actions if self.keep_outside else _fit_actions(video, stream))


@contextmanager
def _reporting(on_problem: OnProblem) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        on_problem(error)


def _read_lines(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    return tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())


def _measured_duration(video: AnnotatedVideo, num_frames: int) -> float:
    """Return the duration in seconds; from the frame rate where ``num_steps`` says that it is that of the stream."""
    steps, rate = video.numbers.get("num_steps"), video.numbers.get("fps", 0.0)
    if steps is None:
        return video.duration
    if steps != num_frames:
        raise UserError(f"stream {video.name} has num_steps {steps:g}, but its file has {num_frames} rows: correct one")
    if rate <= 0:
        return video.duration
    if abs(num_frames / rate - video.duration) > 1.01 / rate:  # some count the frames, some the steps between them
        raise UserError(
            f"stream {video.name} has {num_frames} frames at {rate:g} per second, but a duration of "
            f"{video.duration:g} s: correct fps or duration"
        )
    return num_frames / rate


def _frame_rate(video: AnnotatedVideo) -> float:
    """Return the frames per second of the video itself."""
    frames = video.numbers.get("frame", video.numbers.get("duration_frame"))
    rate = video.numbers.get("fps") if frames is None else frames / video.duration
    if rate is None or rate <= 0:
        raise UserError(
            f"video {video.name} needs fps or frame (how many) for feature_stride: add one to its annotation"
        )
    return rate


def _check_stride(video: AnnotatedVideo, stream: ActionStream) -> None:
    difference = abs(stream.offset + stream.duration - video.duration)
    if difference > max(TOLERATED_SECONDS, TOLERATED_SHARE * video.duration):
        raise UserError(
            f"video {video.name} is {video.duration:g} s long, but {stream.num_frames} features at this stride last "
            f"{stream.duration:g} s: correct feature_stride, or extract it again"
        )


def _fit_actions(video: AnnotatedVideo, stream: ActionStream) -> tuple[Action, ...]:
    """Return the actions within the video; what lies outside by one frame or less is cut."""
    last = max(video.duration, stream.offset + stream.duration)
    for action in video.actions:
        if action.start < -stream.frame_time or action.end > last + stream.frame_time:
            raise UserError(
                f"video {video.name} is {last:g} s long, but an annotation ({action.label}) lasts from "
                f"{action.start:g} to {action.end:g} s: correct it, or give the features of the whole video"
            )
    fitted = (replace(each, start=max(each.start, 0.0), end=min(each.end, last)) for each in video.actions)
    return tuple(action for action in fitted if action.end > action.start)
