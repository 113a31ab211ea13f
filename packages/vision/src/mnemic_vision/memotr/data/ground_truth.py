"""Ground truth files of MOTChallenge, checked line by line."""

from math import isfinite, nan
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from mnemic_core.errors import UserError
from mnemic_vision.memotr.data.sequence import Annotations, TargetRows

_NUM_COLUMNS = 9  # frame, id, left, top, width, height, mark, class, visibility
_MOT15_NUM_COLUMNS = 10  # frame, id, left, top, width, height, mark, position in the world


def read_ground_truth(path: Path, num_frames: int, classes: tuple[int, ...], part: slice = slice(None)) -> Annotations:
    """Read a ``gt.txt``.

    Args:
        path: the file.
        num_frames: frames of the complete sequence.
        classes: class numbers to keep; the index of a number becomes the label.
        part: frames to keep.

    Raises:
        UserError: a line has a different number of columns, a value that is not a finite number, a frame outside the
            sequence, a box without area, or an identity that is already in its frame; or no line is left.
    """
    table, lines = _read_table(path)
    if table.shape[1] == _MOT15_NUM_COLUMNS:
        table[:, 7:9] = 1  # world positions in MOT15; all objects are visible pedestrians
    kept = (table[:, 6] != 0) & np.isin(table[:, 7], classes)
    if not kept.any():
        found = sorted({int(number) for number in table[:, 7]})
        raise UserError(f"{path} has no line of class {classes} with mark 1; its classes are {found}")
    table, lines = table[kept], lines[kept]
    _check_table(path, table, lines, num_frames)
    start, stop, _ = part.indices(num_frames)
    inside = (table[:, 0] > start) & (table[:, 0] <= stop)
    table = table[inside]
    rows = TargetRows(
        ids=table[:, 1].astype(np.int64),
        labels=np.array([classes.index(int(number)) for number in table[:, 7]], dtype=np.int64),
        boxes=table[:, 2:6].astype(np.float32),
        visibility=table[:, 8].astype(np.float32),
    )
    frames = table[:, 0].astype(np.int64) - 1 - start
    return Annotations.from_rows(frames, rows, labeled=np.ones(stop - start, dtype=bool))


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
    if not rows:
        raise UserError(f"{path} is empty; copy it again, or remove it if there is no ground truth")
    return np.array(rows), np.array(lines)


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
    refuse(table[:, 4:6].min(axis=1) <= 0, "width and height must be above 0")
    _, first = np.unique(table[:, :2], axis=0, return_index=True)
    repeated = np.ones(len(table), dtype=bool)
    repeated[first] = False
    refuse(repeated, "an id may occur once in a frame")
