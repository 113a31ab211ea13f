"""Counted pixels of many images on common levels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from mnemic_vision.memmc_mae.metrics.pixel_counts import PixelCounts, level_scores


@dataclass(frozen=True)
class PixelTable:
    """Pixels of images by their score, the highest level first.

    Attributes:
        scores: of the levels.
        normal: normal pixels.
        anomalous: anomalous pixels.
        overlap: see :class:`PixelCounts`.
        regions: of each image.
        intersection: at the given threshold; NaN without one.
        union: likewise.
    """

    scores: Float64[np.ndarray, " level"]
    normal: Float64[np.ndarray, "image level"]
    anomalous: Float64[np.ndarray, "image level"]
    overlap: Float64[np.ndarray, "image level"]
    regions: Float64[np.ndarray, " image"]
    intersection: Float64[np.ndarray, " image"]
    union: Float64[np.ndarray, " image"]


def pooled_table(pixels: Sequence[PixelCounts]) -> PixelTable:
    """Return one row with the pixels of all images, at all levels that occur."""
    keys = np.unique(np.concatenate([each.key for each in pixels]))
    columns = {name: np.zeros((1, len(keys))) for name in ("normal", "anomalous", "overlap")}
    for each in pixels:
        place = np.searchsorted(keys, each.key)  # each level of an image occurs once
        for name, column in columns.items():
            column[0, place] += getattr(each, name)
    sums = {name: np.array([sum(values)], dtype=np.float64) for name, values in _totals(pixels).items()}
    return PixelTable(level_scores(keys)[::-1], **{name: column[:, ::-1] for name, column in columns.items()}, **sums)


def image_table(pixels: Sequence[PixelCounts], most_levels: int) -> PixelTable:
    """Return a row for each image; beyond a number of levels, neighbors are merged.

    Merged levels hold about equal shares of all pixels, normal and anomalous ones counting alike.
    """
    keys = _merged_keys(pixels, most_levels)
    places = [np.searchsorted(keys, each.key, side="right") - 1 for each in pixels]
    rows = {
        name: np.stack(
            [
                np.bincount(place, weights=getattr(each, name), minlength=len(keys))[::-1]
                for place, each in zip(places, pixels, strict=True)
            ]
        )
        for name in ("normal", "anomalous", "overlap")
    }
    totals = {name: np.array(values, dtype=np.float64) for name, values in _totals(pixels).items()}
    return PixelTable(level_scores(keys)[::-1], **rows, **totals)


def _merged_keys(pixels: Sequence[PixelCounts], most_levels: int) -> Int64[np.ndarray, " level"]:
    """Return the lowest level of each group of levels."""
    keys = np.unique(np.concatenate([each.key for each in pixels]))
    if len(keys) <= most_levels:
        return keys
    table = pooled_table(pixels)
    share = sum(row[0, ::-1] / max(row.sum(), 1) for row in (table.normal, table.anomalous))
    before = np.cumsum(share) - share
    _, first = np.unique((before * most_levels / (1e-9 + share.sum())).astype(np.int64), return_index=True)
    return keys[first]


def _totals(pixels: Sequence[PixelCounts]) -> dict[str, list[float]]:
    names = ("regions", "intersection", "union")
    return {name: [float(getattr(each, name)) for each in pixels] for name in names}
