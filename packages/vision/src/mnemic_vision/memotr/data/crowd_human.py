"""CrowdHuman: still images of crowds, which MeMOTR trains on together with MOT17."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from mnemic_core.errors import UserError
from mnemic_vision.memotr.data.mot import image_size
from mnemic_vision.memotr.data.sequence import Annotations, ImageFiles, TrackingSequence


def read_crowd_human(root: str | Path, split: str = "val") -> TrackingSequence:
    """Read the images of a split as one sequence of stills, in which each person has a different identity.

    Boxes are of the full body and may extend beyond the image; people marked as ignored are left out.

    Args:
        root: folder with ``annotation_{split}.odgt`` and the images in ``images/{split}`` or ``images``.
        split: train or val (MeMOTR uses val).

    Raises:
        FileNotFoundError: the annotations or an image are missing.
        UserError: a line of the annotations is malformed; the message names it.
    """
    path = Path(root) / f"annotation_{split}.odgt"
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; it has the annotations of CrowdHuman's {split} split")
    lines = path.read_text(encoding="utf-8").splitlines()
    pictures = [_parse(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not pictures:
        raise UserError(f"{path} is empty; copy it again")
    folder = Path(root) / "images"
    folder = folder / split if (folder / split).is_dir() else folder
    names = [f"{name}.jpg" for name, _ in pictures]
    missing = sorted(set(names) - {image.name for image in folder.glob("*.jpg")})
    if missing:
        raise FileNotFoundError(f"{folder} lacks {len(missing)} images of {path.name}, such as {missing[0]}")
    people = [(frame, box) for frame, (_, boxes) in enumerate(pictures) for box in boxes]
    objects = [(frame, identity, 0, box, 1.0) for identity, (frame, box) in enumerate(people, start=1)]
    return TrackingSequence(
        name=f"CrowdHuman-{split}",
        frames=ImageFiles(folder, names),
        image_size=image_size(folder / names[0]),
        frame_rate=1.0,
        annotations=Annotations.from_objects(objects, np.ones(len(pictures), dtype=bool)),
        are_stills=True,
    )


def _parse(path: Path, number: int, line: str) -> tuple[str, list[list[float]]]:
    """Return the name of an image and the boxes in it."""
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
    return name, [box for box in boxes if box[2] > 0 and box[3] > 0]


def _counts(person: dict[str, Any]) -> bool:
    return person.get("tag") == "person" and person.get("extra", {}).get("ignore", 0) != 1
