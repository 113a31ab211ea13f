"""BDD100K multi-object tracking: driving videos with eight classes."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from mnemic_core.errors import UserError
from mnemic_vision.memotr.data.mot import image_size
from mnemic_vision.memotr.data.sequence import (
    Annotations,
    ImageFiles,
    ObjectRow,
    OtherBoxes,
    OtherKind,
    TrackingSequence,
)
from mnemic_vision.video import list_images

BDD100K_CLASSES = ("pedestrian", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
BDD100K_FRAME_RATE = 5.0

_DISTRACTORS = ("other person", "trailer", "other vehicle")


def read_bdd100k(root: str | Path, split: str) -> list[TrackingSequence]:
    """Read BDD100K MOT with the classes `BDD100K_CLASSES`; crowds are regions in which tracks are not scored.

    Args:
        root: folder with ``images/track/{split}/VIDEO/*.jpg`` and ``labels/box_track_20/{split}/VIDEO.json``.
        split: train, val or test; without a folder of labels for the split there is no ground truth.

    Raises:
        FileNotFoundError: a folder, the labels of a video or labeled images are missing.
        UserError: labels are malformed.
    """
    images, labels = Path(root) / "images" / "track" / split, Path(root) / "labels" / "box_track_20" / split
    if not images.is_dir():
        raise FileNotFoundError(f"{images} does not exist; it contains a folder of images for each video")
    videos = sorted(folder for folder in images.iterdir() if folder.is_dir())
    if not videos:
        raise UserError(f"{images} contains no video; each is a folder of images")
    return [_read_video(video, labels / f"{video.name}.json" if labels.is_dir() else None) for video in videos]


def _read_video(folder: Path, labels: Path | None) -> TrackingSequence:
    names = [path.name for path in list_images(folder)]
    return TrackingSequence(
        name=folder.name,
        frames=ImageFiles(folder, names),
        image_size=image_size(folder / names[0]),
        frame_rate=BDD100K_FRAME_RATE,
        annotations=_read_labels(labels, names) if labels else None,
    )


def _read_labels(path: Path, names: list[str]) -> Annotations:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist, but its folder has the labels of the split")
    positions = {name: index for index, name in enumerate(names)}
    identities: dict[str, int] = {}
    labeled = np.zeros(len(names), dtype=bool)
    objects: list[ObjectRow] = []
    regions: list[tuple[int, list[float]]] = []
    try:
        for record in json.loads(path.read_text(encoding="utf-8")):
            frame = positions[record["name"]]
            labeled[frame] = True
            for item in record.get("labels") or []:
                if _is_region(item):
                    regions.append((frame, _box(item["box2d"])))
                    continue
                if item["category"] not in BDD100K_CLASSES:
                    continue
                identity = identities.setdefault(str(item["id"]), len(identities) + 1)
                label = BDD100K_CLASSES.index(item["category"])
                objects.append((frame, identity, label, _box(item["box2d"]), 1.0))
    except KeyError as error:
        raise UserError(f"{path}: {error} is not an image of the video, or a missing key") from error
    except (ValueError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is malformed ({reason}); expected a list of frames with name and labels") from error
    others = OtherBoxes(
        np.array([frame for frame, _ in regions], dtype=np.int64),
        np.array([box for _, box in regions], dtype=np.float32).reshape(-1, 4),
        np.full(len(regions), OtherKind.REGION, dtype=np.int64),
    )
    return Annotations.from_objects(objects, labeled, others)


def _is_region(item: dict[str, Any]) -> bool:
    """Return whether tracks in a box are not scored: crowds, and things that may look like one of the classes."""
    attributes = item.get("attributes") or {}
    is_crowd = attributes.get("crowd", attributes.get("Crowd", False))
    return item["category"] in _DISTRACTORS or bool(is_crowd)


def _box(corners: dict[str, Any]) -> list[float]:
    left, top = float(corners["x1"]), float(corners["y1"])
    box = [left, top, float(corners["x2"]) - left, float(corners["y2"]) - top]
    if not np.isfinite(box).all() or box[2] <= 0 or box[3] <= 0:
        raise UserError(f"a box must have x1 < x2 and y1 < y2, got {corners}")
    return box
