"""CrowdHuman: still images of crowds, which MeMOTR trains on together with MOT17."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mnemic_core.errors import UserError
from mnemic_vision.memotr.data.mot import image_size
from mnemic_vision.memotr.data.sequence import Annotations, ImageFiles, TargetRows, TrackingSequence


def read_crowd_human(root: str | Path, split: str = "val") -> TrackingSequence:
    """Read the images of a split as one sequence of stills, every person with an identity of one's own.

    Boxes are those of the whole body and may reach beyond the image; people to be ignored are left out.

    Args:
        root: folder with ``annotation_{split}.odgt`` and the images in ``images/{split}`` or ``images``.
        split: train or val (MeMOTR takes val).

    Raises:
        FileNotFoundError: the annotations or an image are missing.
        UserError: a line of the annotations is malformed; the message names it.
    """
    path = Path(root) / f"annotation_{split}.odgt"
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; it is the list of people of CrowdHuman's {split} split")
    lines = path.read_text(encoding="utf-8").splitlines()
    pictures = [_parse(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not pictures:
        raise UserError(f"{path} is empty; copy it again")
    folder = Path(root) / "images"
    folder = folder / split if (folder / split).is_dir() else folder
    names = [f"{picture.name}.jpg" for picture in pictures]
    missing = sorted(set(names) - {image.name for image in folder.glob("*.jpg")})
    if missing:
        raise FileNotFoundError(f"{folder} lacks {len(missing)} images of {path.name}, such as {missing[0]}")
    boxes = np.array([box for picture in pictures for box in picture.boxes], dtype=np.float32).reshape(-1, 4)
    rows = TargetRows(
        ids=np.arange(1, len(boxes) + 1, dtype=np.int64),
        labels=np.zeros(len(boxes), dtype=np.int64),
        boxes=boxes,
        visibility=np.ones(len(boxes), dtype=np.float32),
    )
    frames = np.repeat(np.arange(len(pictures)), [len(picture.boxes) for picture in pictures])
    return TrackingSequence(
        name=f"CrowdHuman-{split}",
        frames=ImageFiles(folder, names),
        image_size=image_size(folder / names[0]),
        frame_rate=1.0,
        annotations=Annotations.from_rows(frames, rows, np.ones(len(pictures), dtype=bool)),
        are_stills=True,
    )


@dataclass(frozen=True)
class _Picture:
    name: str
    boxes: list[list[float]]


def _parse(path: Path, number: int, line: str) -> _Picture:
    try:
        record = json.loads(line)
        people = [person for person in record["gtboxes"] if _counts(person)]
        boxes = [[float(side) for side in person["fbox"]] for person in people]
        name = str(record["ID"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}, line {number}: expected ID and gtboxes with fbox ({error!r})") from error
    for box in boxes:
        if len(box) != 4 or not np.isfinite(box).all():
            raise UserError(f"{path}, line {number}: fbox must be left, top, width and height, got {box}")
    return _Picture(name, [box for box in boxes if box[2] > 0 and box[3] > 0])


def _counts(person: dict[str, Any]) -> bool:
    return person.get("tag") == "person" and person.get("extra", {}).get("ignore", 0) != 1
