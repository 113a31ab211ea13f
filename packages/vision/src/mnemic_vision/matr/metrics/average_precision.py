"""Interpolated average precision that does not depend on the order of predictions with equal scores."""

import numpy as np
from jaxtyping import Bool, Float


def average_precision(
    score: Float[np.ndarray, " prediction"],
    is_hit: Bool[np.ndarray, "threshold prediction"],
    weight: Float[np.ndarray, "#threshold prediction"],
    num_truths: int | float,
) -> Float[np.ndarray, " threshold"]:
    """Return the area under the interpolated curve of precision over recall.

    Precision is made monotone, as in the development kit of Pascal VOC 2011 that ActivityNet and OpenTAD follow. The
    curve has one point for each different score: predictions with the same score are accepted together or not at all,
    since no threshold tells them apart. Evaluators that accept them one by one give anything between the values of
    their best and their worst order.

    Args:
        score: falling.
        is_hit: true positives.
        weight: how often a prediction counts, 0 for not at all.
        num_truths: annotated actions, counted likewise; above 0.

    Example:
        >>> average_precision(np.array([0.9, 0.9]), np.array([[True, False]]), np.ones((1, 2)), 1).tolist()
        [0.5]
    """
    found = np.flatnonzero(is_hit.any(axis=0))  # recall grows there only
    last = np.searchsorted(-score, -score[found], side="right") - 1  # of the same score
    hits = np.cumsum(is_hit[:, found] * weight[:, found], axis=1)
    accepted = np.cumsum(weight, axis=1)[:, last]
    # Of several with one score, the first ones have too few hits here; the envelope gives them the value of the last.
    precision = np.divide(hits, accepted, out=np.zeros_like(hits), where=accepted > 0)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    area: Float[np.ndarray, " threshold"] = (np.diff(hits / num_truths, axis=1, prepend=0.0) * envelope).sum(axis=1)
    return area
