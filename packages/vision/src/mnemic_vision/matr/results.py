"""Result files: detected actions by stream, in the form of ActivityNet with the time of emission of each.

``{"version": "...", "results": {"<stream>": [{"segment": [start, end], "label": "...", "score": 0.9, "gentime": 2.5}]},
"external_data": {}}`` with times in seconds. OpenTAD's evaluator reads it too.
"""

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from mnemic_core.errors import UserError
from mnemic_core.temporary_files import replacing
from mnemic_vision.matr.actions import DetectedAction
from mnemic_vision.matr.json_file import read_json

_OFFLINE = "; of a system that needs the complete video, the time is its duration"


def results_text(results: Mapping[str, Sequence[DetectedAction]]) -> str:
    r"""Return the content of a result file, one line a stream.

    Raises:
        UserError: an action has a number that is NaN or infinite, or ends before it begins.

    Example:
        >>> print(results_text({"clip": [DetectedAction("jump", 0.9, start=1.0, end=2.0, emitted=2.5)]}), end="")
        {"version": "mnemic 1", "external_data": {}, "results": {
        "clip": [{"segment": [1.0, 2.0], "label": "jump", "score": 0.9, "gentime": 2.5}]
        }}
    """
    lines = []
    for name, actions in results.items():
        for index, action in enumerate(actions):
            _check_action(action, f"result {index} of stream {name!r}")
        lines.append(f"{json.dumps(name)}: {json.dumps([action.as_dict() for action in actions])}")
    return '{"version": "mnemic 1", "external_data": {}, "results": {\n' + ",\n".join(lines) + "\n}}\n"


def write_results(path: str | Path, results: Mapping[str, Sequence[DetectedAction]]) -> None:
    """Write a result file, which appears only when complete.

    Raises:
        UserError: see `results_text`; nothing is written.
        OSError: if it cannot be written.
    """
    text = results_text(results)
    with replacing(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_results(path: str | Path) -> dict[str, tuple[DetectedAction, ...]]:
    """Return the detected actions of a result file by stream, in the order of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: it is not JSON, lacks a field, names a stream twice, or has a number that is NaN or infinite or an
            end before a start; the message says where.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no result file at {path}")
    content = read_json(path)
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        raise UserError(f'{path} has no "results": expected {{"results": {{"<stream>": [...]}}}}')
    return {name: _read_stream(f"{path}: stream {name!r}", actions) for name, actions in results.items()}


def _read_stream(place: str, actions: Any) -> tuple[DetectedAction, ...]:
    if not isinstance(actions, list):
        raise UserError(f"{place} must be a list of actions, got {_shown(actions)}")
    return tuple(_read_action(f"{place}, result {index}", action) for index, action in enumerate(actions))


def _read_action(place: str, fields: Any) -> DetectedAction:
    if not isinstance(fields, dict):
        raise UserError(f"{place} must be an object with segment, label, score and gentime, got {_shown(fields)}")
    for name in ("segment", "label", "score", "gentime"):
        if name not in fields:
            raise UserError(f"{place} lacks {name!r}" + (_OFFLINE if name == "gentime" else ""))
    segment, label = fields["segment"], fields["label"]
    if not isinstance(segment, list) or len(segment) != 2:
        raise UserError(f"{place} must have a segment [start, end], got {_shown(segment)}")
    if not isinstance(label, str):
        raise UserError(f"{place} must have the name of a class as label, got {_shown(label)}")
    numbers = {"score": fields["score"], "start": segment[0], "end": segment[1], "emitted": fields["gentime"]}
    for name, number in numbers.items():
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise UserError(f"{place} must have a number as {name}, got {_shown(number)}")
    action = DetectedAction(label, **{name: float(number) for name, number in numbers.items()})
    _check_action(action, place)
    return action


def _check_action(action: DetectedAction, place: str) -> None:
    for name in ("score", "start", "end", "emitted"):
        if not isfinite(number := getattr(action, name)):
            raise UserError(f"{place} has the {name} {number}, expected a finite number")
    if action.end < action.start:
        raise UserError(f"{place} ends at {action.end} s, before its start at {action.start} s")


def _shown(value: Any) -> str:
    return f"{' '.join(repr(value).split()):.60}"
