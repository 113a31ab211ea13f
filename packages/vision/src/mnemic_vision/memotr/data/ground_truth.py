"""Ground truth files of MOTChallenge, checked line by line."""

from math import isfinite, nan
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from mnemic_core.errors import UserError
from mnemic_vision.memotr.data.sequence import Annotations, OtherBoxes, OtherKind, TargetRows

DISTRACTORS = (2, 7, 8, 12)
"""Classes of MOT17 on which tracks are not scored: person on vehicle, static person, distractor and reflection."""

_CLASSES = range(1, 14)
_NUM_COLUMNS = 9  # frame, id, left, top, width, height, mark, class, visibility
_MOT15_NUM_COLUMNS = 10  # frame, id, left, top, width, height, mark, position in the world


def read_ground_truth(
    path: Path,
    num_frames: int,
    classes: tuple[int, ...],
    part: slice = slice(None),
    distractors: tuple[int, ...] = DISTRACTORS,
) -> Annotations:
    """Read a ``gt.txt``, which may have no object.

    Args:
        path: the file.
        num_frames: frames of the complete sequence.
        classes: class numbers to keep; the index of a number becomes the label.
        part: frames to keep.
        distractors: class numbers of boxes on which tracks are not scored, unless they are in ``classes``.

    Raises:
        UserError: a line has a different number of columns, a value that is not a finite number, a frame outside the
            sequence, a box without area, or an identity that is already in its frame.
    """
    table, lines = _read_table(path)
    is_mot15 = table.shape[1] == _MOT15_NUM_COLUMNS
    if is_mot15:
        table[:, 7:9] = 1  # world positions in MOT15; all objects are visible pedestrians
    kept = (table[:, 6] != 0) & np.isin(table[:, 7], classes)
    start, stop, _ = part.indices(num_frames)
    inside = (table[:, 0] > start) & (table[:, 0] <= stop)
    others = None if is_mot15 else _others(table[~kept & inside], start, distractors)
    _check_table(path, table[kept], lines[kept], num_frames)
    table = table[kept & inside]
    rows = TargetRows(
        ids=table[:, 1].astype(np.int64),
        labels=np.array([classes.index(int(number)) for number in table[:, 7]], dtype=np.int64),
        boxes=table[:, 2:6].astype(np.float32),
        visibility=table[:, 8].astype(np.float32),
    )
    frames = table[:, 0].astype(np.int64) - 1 - start
    return Annotations.from_rows(frames, rows, np.ones(stop - start, dtype=bool), others)


def _others(table: Float64[np.ndarray, "row column"], start: int, distractors: tuple[int, ...]) -> OtherBoxes:
    """Return the boxes that are not objects, as TrackEval treats them: it knows classes up to 13."""
    table = table[np.isin(table[:, 7], _CLASSES) & (table[:, 4:6] > 0).all(axis=1)]
    is_distractor = np.isin(table[:, 7], distractors)
    kinds = np.where(is_distractor, OtherKind.DISTRACTOR, OtherKind.PASSIVE).astype(np.int64)
    return OtherBoxes(table[:, 0].astype(np.int64) - 1 - start, table[:, 2:6].astype(np.float32), kinds)


def _read_table(path: Path) -> tuple[Float64[np.ndarray, "row column"], np.ndarray]:
    """Return the numbers, and the line of each row, counted from 1."""
    rows: list[list[float]] = []
    lines: list[int] = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        columns = line.split(",")
        if len(columns) not in ({len(rows[0])} if rows else {_NUM_COLUMNS, _MOT15_NUM_COLUMNS}):
            raise UserError(
                f"{path}, line {number}: expected {len(rows[0]) if rows else _NUM_COLUMNS} columns "
                f"(frame,id,left,top,width,height,mark,class,visibility), got {len(columns)}"
            )
        rows.append([_finite(column, f"{path}, line {number}") for column in columns])
        lines.append(number)
    return np.array(rows).reshape(len(rows), -1 if rows else _NUM_COLUMNS), np.array(lines, dtype=int)


def _finite(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not isfinite(value):
        raise UserError(f"{place}: expected a finite number, got {text.strip()!r}")
    return value


def _check_table(path: Path, table: Float64[np.ndarray, "row column"], lines: np.ndarray, num_frames: int) -> None:
    frames, ids = table[:, 0], table[:, 1]

    def refuse(wrong: np.ndarray, message: str) -> None:
        if wrong.any():
            row = int(wrong.argmax())
            values = ",".join(f"{number:g}" for number in table[row, :6])
            raise UserError(f"{path}, line {lines[row]}: {message}, got {values}")

    refuse((frames % 1 != 0) | (ids % 1 != 0), "frame and id must be whole numbers")
    refuse((frames < 1) | (frames > num_frames), f"frame must be from 1 to {num_frames}, the number of images")
    refuse(np.any(table[:, 4:6] <= 0, axis=1), "width and height must be above 0")
    _, first = np.unique(table[:, :2], axis=0, return_index=True)
    repeated = np.ones(len(table), dtype=bool)
    repeated[first] = False
    refuse(repeated, "an id may occur once in a frame")
