"""Annotations in ActivityNet's json format: ``{"database": {name: {"subset", "duration", "annotations"}}}``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, TypeGuard

from mnemic_core.errors import UserError
from mnemic_core.loading import name_some
from mnemic_vision.matr.actions import Action
from mnemic_vision.matr.data.problems import OnProblem, raise_problem
from mnemic_vision.matr.json_file import read_json


@dataclass(frozen=True)
class AnnotatedVideo:
    """An entry of the database.

    Attributes:
        name: unique in the file.
        subset: part of the data set, such as ``"train"``; empty if not given.
        duration: seconds.
        actions: by start.
        numbers: further numbers of the entry, such as ``fps``, ``frame`` or ``num_steps``.
    """

    name: str
    subset: str
    duration: float
    actions: tuple[Action, ...]
    numbers: Mapping[str, float]


_SHORT_NAMES = {"training": "train", "validation": "val", "testing": "test"}


@dataclass(frozen=True)
class AnnotationFile:
    """The videos of an annotation file and the names of their classes."""

    path: Path
    classes: tuple[str, ...]
    videos: list[AnnotatedVideo]

    def select(self, subset: str | None) -> list[AnnotatedVideo]:
        """Return the videos of a subset, or all for None; ``train`` also finds ``training``, and so on.

        Raises:
            UserError: there is no such subset; the message names those that exist.
        """
        found = [video for video in self.videos if subset in (None, video.subset, _SHORT_NAMES.get(video.subset))]
        if not found:
            subsets = ", ".join(sorted({video.subset or "(none)" for video in self.videos})) or "none"
            raise UserError(f"{self.path} has no video of subset {subset!r}: its subsets are {subsets}")
        return found


def read_annotation_file(
    path: str | Path,
    classes: Iterable[str] | None = None,
    *,
    ignored_labels: Iterable[str] = (),
    on_problem: OnProblem = raise_problem,
) -> AnnotationFile:
    """Read an annotation file.

    Args:
        path: the json file.
        classes: names of the classes; otherwise those of the file, or its labels in alphabetic order over all subsets.
        ignored_labels: of annotations to leave out.
        on_problem: gets what is wrong with a video, which is then left out, as are videos of one name; the default
            raises it.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is malformed, names a video twice, or a video is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no annotation file {path}")
    content = read_json(path, on_problem)
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict) or not all(isinstance(entry, dict) for entry in database.values()):
        raise UserError(f'{path}: expected {{"database": {{NAME: {{"duration": ..., "annotations": [...]}}}}}}')
    ignored = frozenset(ignored_labels)
    known = tuple(classes) if classes is not None else _find_classes(path, content, ignored)
    videos = []
    for name, entry in database.items():
        try:
            videos.append(_read_video(name, entry, known, ignored))
        except UserError as error:
            on_problem(UserError(f"{path}: {error}"))
    return AnnotationFile(path, known, videos)


def _find_classes(path: Path, content: Mapping[str, Any], ignored: frozenset[str]) -> tuple[str, ...]:
    given = content.get("classes")
    if given is None:
        items = [item for entry in content["database"].values() for item in _list_annotations("", entry)]
        labels = {item["label"] for item in items if isinstance(item, dict) and isinstance(item.get("label"), str)}
        return tuple(sorted(labels - ignored))
    is_named = isinstance(given, list) and given and all(isinstance(name, str) for name in given)
    if not is_named or len(set(given)) < len(given):
        raise UserError(f"{path}: classes must be a list of different names, got {given!s:.80}")
    return tuple(given)


def _read_video(
    name: str, entry: Mapping[str, Any], classes: tuple[str, ...], ignored: frozenset[str]
) -> AnnotatedVideo:
    if name != Path(name).name or "\\" in name or name in {"", ".", ".."} or not name.isprintable():
        raise UserError(f"a video has the name {name!r:.60}, which cannot be that of a file: rename it")
    duration = entry.get("duration")
    if not _is_number(duration) or duration <= 0:
        raise UserError(f"video {name} needs a duration above 0 seconds, got {duration!r:.60}")
    items = [item for item in _list_annotations(name, entry) if not _has_label(item, ignored)]
    actions = [_read_action(name, number, item, classes) for number, item in enumerate(items)]
    return AnnotatedVideo(
        name,
        subset=str(entry.get("subset", "")),
        duration=float(duration),
        actions=tuple(sorted(actions, key=lambda action: (action.start, action.end))),
        numbers={key: float(value) for key, value in entry.items() if _is_number(value)},
    )


def _list_annotations(name: str, entry: Mapping[str, Any]) -> list[Any]:
    items = entry.get("annotations", [])  # files of test videos leave it out
    if not isinstance(items, list):
        raise UserError(f"video {name} has annotations {items!r:.60}: expected a list")
    return items


def _has_label(item: Any, labels: frozenset[str]) -> bool:
    return isinstance(item, dict) and isinstance(item.get("label"), str) and item["label"] in labels


def _read_action(name: str, number: int, item: Any, classes: tuple[str, ...]) -> Action:
    place = f"annotation {number} of video {name}"
    segment = item.get("segment") if isinstance(item, dict) else None
    if not isinstance(segment, list) or len(segment) != 2 or not all(map(_is_number, segment)):
        raise UserError(f'{place} needs "segment": [start, end] in seconds, got {segment!r:.60}')
    label, (start, end) = item.get("label"), map(float, segment)
    if label not in classes:
        raise UserError(f"{place} has the unknown label {label!r:.60}: the classes are {name_some(classes)}")
    if end < start:
        raise UserError(f"{place} ({label}) ends at {end:g} s, before its start at {start:g} s: correct or remove it")
    return Action(label, start, end)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
