"""Result files, written frame by frame (MOTChallenge text, JSON lines, BDD100K json), and the reader of MOT text.

Each writer is a context manager that gives a function ``write(frame_index, tracks)`` with the frame counted from 0. It
holds one frame at a time, and the file appears under its name only when the block ends well.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from mnemic_core.errors import UserError
from mnemic_kit.atomic_files import atomic_write
from mnemic_vision.tracks import Track

WriteFrame: TypeAlias = Callable[[int, Sequence[Track]], None]


@contextmanager
def mot_writer(path: str | Path) -> Iterator[WriteFrame]:
    r"""Write MOTChallenge text, one line a box: ``frame,id,x,y,width,height,score,-1,-1,-1``.

    Frames count from 1. Boxes are in pixels, rounded to 0.0001, and may reach beyond the image. The folder must exist.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "street.txt"
        >>> with mot_writer(path) as write:
        ...     write(0, [Track(id=7, label=0, score=0.9, box=(1.0, 2.5, 30.0, 60.0))])
        >>> path.read_text()
        '1,7,1.0,2.5,30.0,60.0,0.9,-1,-1,-1\n'
    """
    with atomic_write(path) as file:

        def write(frame_index: int, tracks: Sequence[Track]) -> None:
            for track in tracks:
                box = ",".join(str(_rounded(side)) for side in track.box)
                file.write(f"{frame_index + 1},{track.id},{box},{_rounded(track.score)},-1,-1,-1\n")

        yield write


@contextmanager
def json_lines_writer(path: str | Path) -> Iterator[Callable[[int, float, Sequence[Track]], None]]:
    """Write one JSON object a line and frame, frames without tracks included, by ``write(frame_index, time, tracks)``.

    ``{"frame": 0, "time": 0.0, "tracks": [{"id": 7, "label": 0, "score": 0.9, "box": [x, y, width, height]}]}`` with
    the frame counted from 0, the time in seconds and the box in pixels. The folder must exist.
    """
    with atomic_write(path) as file:

        def write(frame_index: int, time: float, tracks: Sequence[Track]) -> None:
            found = [
                {
                    "id": track.id,
                    "label": track.label,
                    "score": _rounded(track.score),
                    "box": [_rounded(side) for side in track.box],
                }
                for track in tracks
            ]
            line = {"frame": frame_index, "time": round(time, 6), "tracks": found}
            file.write(json.dumps(line, allow_nan=False) + "\n")

        yield write


@contextmanager
def bdd100k_writer(path: str | Path, video: str, categories: Sequence[str]) -> Iterator[WriteFrame]:
    """Write the BDD100K tracking format: a JSON list with one entry a frame, frames without tracks included.

    Frames are called ``<video>-0000001.jpg`` and so on; ``categories`` are the names of the labels. The folder must
    exist.
    """
    with atomic_write(path) as file:
        separator = "["

        def write(frame_index: int, tracks: Sequence[Track]) -> None:
            nonlocal separator
            entry = {
                "name": f"{video}-{frame_index + 1:07d}.jpg",
                "videoName": video,
                "frameIndex": frame_index,
                "labels": [_bdd100k_label(track, categories) for track in tracks],
            }
            file.write(f"{separator}\n{json.dumps(entry, allow_nan=False)}")
            separator = ","

        yield write
        file.write("[]\n" if separator == "[" else "\n]\n")


def _bdd100k_label(track: Track, categories: Sequence[str]) -> dict[str, object]:
    if not 0 <= track.label < len(categories):
        raise UserError(f"track {track.id} has label {track.label}, but only {len(categories)} categories are named")
    x, y, width, height = track.box
    corners = {"x1": x, "y1": y, "x2": x + width, "y2": y + height}
    box = {name: _rounded(value) for name, value in corners.items()}
    # Identities are text in BDD100K.
    return {"id": str(track.id), "category": categories[track.label], "box2d": box}


def _rounded(value: float) -> float:
    """A ten-thousandth of a pixel is beyond any detector, and longer numbers only make longer files."""
    return round(float(value), 4)


@dataclass(frozen=True)
class MotRows:
    """The boxes of one sequence in MOTChallenge form, one row a box.

    Attributes:
        frame: number of the frame, counted from 1.
        id: identity of the box within the sequence; -1 in files of mere detections.
        boxes_xywh: x and y of the top left corner, width and height, in pixels.
    """

    frame: Int[np.ndarray, " row"]
    id: Int[np.ndarray, " row"]
    boxes_xywh: Float[np.ndarray, "row 4"]

    @classmethod
    def from_table(cls, table: Float[np.ndarray, "row column"]) -> "MotRows":
        """Return the rows of a table whose first six columns are frame, id and box."""
        return cls(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:6])

    def select(self, rows: Bool[np.ndarray, " row"]) -> "MotRows":
        """Return the rows where ``rows`` is True."""
        return MotRows(self.frame[rows], self.id[rows], self.boxes_xywh[rows])


def rows_by_frame(numbers: Int[np.ndarray, " row"], frames: Int[np.ndarray, " frame"]) -> list[Int[np.ndarray, " _"]]:
    """Return the rows of each frame; sorting once keeps long sequences fast.

    Args:
        numbers: frame of each row, all of which are in ``frames``.
        frames: numbers of frames, rising.
    """
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.searchsorted(numbers[order], frames[1:]))


def read_mot(path: str | Path, *, min_score: float | None = None) -> MotRows:
    """Read MOTChallenge text: results, detections or ground truth.

    Args:
        path: a file with lines ``frame,id,x,y,width,height[,score,...]``; empty lines are skipped.
        min_score: keep only rows whose seventh column is above it. That column is the confidence of a detection, and
            in ground truth 0 marks boxes that do not count. None keeps all rows.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: a line is malformed; the message gives file and line number.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give a MOTChallenge text file")
    min_columns = 6 if min_score is None else 7
    with path.open(encoding="utf-8", errors="replace") as file:  # other encodings are reported as malformed lines
        lines = [(number, line) for number, line in enumerate(file, start=1) if line.strip()]
    values = [_parse_line(line, f"{path}, line {number}", min_columns) for number, line in lines]
    table = np.array(values, dtype=float).reshape(-1, 7)
    return MotRows.from_table(table if min_score is None else table[table[:, 6] > min_score])


def _parse_line(line: str, place: str, min_columns: int) -> tuple[float, ...]:
    """The first seven numbers of a line; a missing score counts as 1."""
    columns = line.split(",")
    if len(columns) < min_columns:
        raise UserError(
            f"{place}: expected {min_columns} or more columns frame,id,x,y,width,height[,score], got {len(columns)}"
        )
    try:
        numbers = tuple(float(column) for column in [*columns[:7], "1"][:7])
    except ValueError as error:
        raise UserError(f"{place}: expected numbers separated by commas, got {line.strip()[:80]!r}") from error
    if not np.isfinite(numbers).all() or numbers[0] < 1 or numbers[0] % 1 or numbers[1] % 1:
        raise UserError(f"{place}: frame must be a whole number from 1, id a whole number, got {line.strip()[:80]!r}")
    if min(numbers[4:6]) < 0:
        raise UserError(f"{place}: width and height must not be negative, got {line.strip()[:80]!r}")
    return numbers
