"""Overlaps of boxes (x, y, width, height)."""

import numpy as np
from jaxtyping import Float


def iou_xywh(
    first: Float[np.ndarray, "track 4"], second: Float[np.ndarray, "detection 4"]
) -> Float[np.ndarray, "track detection"]:
    """Return the intersection over union of every pair of boxes (x, y, width, height); 0 for boxes without area."""
    overlap = _overlap(first, second)
    union = first[:, 2:].prod(axis=-1)[:, None] + second[:, 2:].prod(axis=-1)[None] - overlap
    return _share(overlap, union)


def covered_share(
    first: Float[np.ndarray, "track 4"], second: Float[np.ndarray, "region 4"]
) -> Float[np.ndarray, "track region"]:
    """Return the share of each first box that lies in each second one; 0 for boxes without area."""
    overlap = _overlap(first, second)
    return _share(overlap, np.broadcast_to(first[:, 2:].prod(axis=-1)[:, None], overlap.shape))


def _overlap(
    first: Float[np.ndarray, "track 4"], second: Float[np.ndarray, "detection 4"]
) -> Float[np.ndarray, "track detection"]:
    corner = np.maximum(first[:, None, :2], second[None, :, :2])
    opposite = np.minimum((first[:, :2] + first[:, 2:])[:, None], (second[:, :2] + second[:, 2:])[None])
    area: Float[np.ndarray, "track detection"] = (opposite - corner).clip(min=0).prod(axis=-1)
    return area


def _share(
    part: Float[np.ndarray, "track detection"], whole: Float[np.ndarray, "track detection"]
) -> Float[np.ndarray, "track detection"]:
    share: Float[np.ndarray, "track detection"] = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return share
