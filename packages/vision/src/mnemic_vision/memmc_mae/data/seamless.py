"""Fitting a piece of one image into another without a visible border."""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage, sparse
from scipy.sparse import linalg

SOLVED_SIDE = 96  # pixels: the correction is smooth, so a coarse one is enough for a large piece

Channels = Float[np.ndarray, "channel height width"]
Plane = Float[np.ndarray, "height width"]
Inside = Bool[np.ndarray, "height width"]


def fit_border(piece: Channels, target: Channels, inside: Inside) -> Channels:
    """Return a piece plus the smoothest correction that makes it equal to the target at the border.

    The correction is the harmonic function whose values just outside are target minus piece, so gradients of the piece
    are kept as well as possible: Poisson image editing, Pérez et al. 2003, equations 5 and 6.

    Args:
        piece: an image.
        target: an image of the same shape.
        inside: True where the piece is used; elsewhere the target is returned.
    """
    fitted = target.copy()
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    if not len(rows):
        return fitted
    window = tuple(slice(max(0, found[0] - 1), found[-1] + 2) for found in (rows, columns))
    for channel in range(len(piece)):
        difference = (target[channel] - piece[channel])[window]
        corrected = piece[channel][window] + _harmonic(difference, inside[window])
        fitted[channel][window] = np.where(inside[window], corrected, target[channel][window])
    return fitted


def _harmonic(values: Plane, inside: Inside) -> Plane:
    """Return the harmonic continuation into the inside of values outside, at a coarse resolution if it is large."""
    factor = max(1, -(-max(inside.shape) // SOLVED_SIDE))
    if factor == 1:
        return _solve(values, inside)
    rows, columns = (range(0, side, factor) for side in inside.shape)
    known = ndimage.uniform_filter(np.where(inside, 0, values), factor)
    weight = ndimage.uniform_filter((~inside).astype(float), factor)
    grid = np.ix_(rows, columns)
    coarse = _solve(np.where(weight > 0, known / np.maximum(weight, 1e-9), 0)[grid], inside[grid] | (weight[grid] <= 0))
    places = np.meshgrid(*(np.arange(side) / factor for side in inside.shape), indexing="ij")
    continued: Plane = ndimage.map_coordinates(coarse, places, order=1, mode="nearest")
    return continued


def _solve(values: Plane, inside: Inside) -> Plane:
    """Solve Laplace's equation at the pixels inside; the frame of the image has no neighbor beyond it."""
    number = np.full(inside.shape, -1)
    number[inside] = np.arange(inside.sum())
    count = int(inside.sum())
    diagonal, right = np.zeros(count), np.zeros(count)
    links: list[tuple[np.ndarray, np.ndarray]] = []
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        exists = _frame(inside.shape, axis, step)
        neighbor, beyond = np.roll(number, -step, axis), np.roll(values, -step, axis)
        here = inside & exists
        diagonal += exists[inside]
        linked = here & (neighbor >= 0)
        links.append((number[linked], neighbor[linked]))
        fixed = here & (neighbor < 0)
        right[number[fixed]] += beyond[fixed]
    first, second = (np.concatenate(parts) for parts in zip(*links, strict=True))
    matrix = sparse.diags_array(diagonal) - sparse.coo_array((np.ones(len(first)), (first, second)), (count, count))
    solved = values.copy()
    solved[inside] = linalg.spsolve(matrix.tocsc(), right)
    return solved


def _frame(shape: tuple[int, ...], axis: int, step: int) -> Inside:
    """Return True where a pixel has a neighbor one step further along an axis."""
    index = np.arange(shape[axis]) + step
    exists = (index >= 0) & (index < shape[axis])
    return np.broadcast_to(exists[:, None] if axis == 0 else exists[None], shape)
