"""Scores of single images as plain records, which processes exchange and files keep."""

from collections.abc import Iterable, Mapping, Sequence
from math import nan
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from mnemic_vision.memmc_mae import PixelCounts, ScoredImages


def count_pixels(
    anomaly_map: Float[Tensor, "map_height map_width"],
    mask: Bool[Tensor, "height width"] | None,
    label: int | None,
    threshold: float | None = None,
) -> PixelCounts | None:
    """Return the counted pixels of an image at the size of its mask; of a normal one without mask at that of the map.

    Returns:
        None for an image of which no mask is known.
    """
    if mask is None and label != 0:
        return None
    if mask is None:
        return PixelCounts.of(anomaly_map.numpy(), np.zeros(tuple(anomaly_map.shape), dtype=bool), threshold)
    height, width = mask.shape
    at_mask = F.interpolate(anomaly_map[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0]
    return PixelCounts.of(at_mask.numpy(), mask.numpy(), threshold)


def as_record(score: float, label: int, pixels: PixelCounts | None) -> dict[str, Any]:
    """Return what an evaluation needs of one image as plain values."""
    counted = None
    if pixels is not None:
        counted = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in vars(pixels).items()}
    return {"score": score, "label": label, "pixels": counted}


def read_records(records: Iterable[Mapping[str, Any]]) -> ScoredImages:
    """Return the scored images of records; the inverse of `as_record`."""
    given = list(records)
    pixels: Sequence[PixelCounts | None] = [_read_pixels(each["pixels"]) for each in given]
    scores = np.array([each["score"] for each in given], dtype=np.float64)
    return ScoredImages(scores, np.array([each["label"] for each in given], dtype=np.int64), pixels)


def _read_pixels(counted: Mapping[str, Any] | None) -> PixelCounts | None:
    if counted is None:
        return None
    kinds = {"key": np.int64, "normal": np.int64, "anomalous": np.int64, "overlap": np.float64}
    arrays: dict[str, Any] = {name: np.array(counted[name], dtype=kind) for name, kind in kinds.items()}
    # Files have null where no threshold was known.
    known = {name: nan if counted[name] is None else counted[name] for name in ("intersection", "union")}
    return PixelCounts(**{**counted, **arrays, **known})
