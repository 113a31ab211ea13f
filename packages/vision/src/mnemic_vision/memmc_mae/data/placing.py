"""Where a lesion can lie: inside the body, not on the background."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage, signal

from mnemic_vision.memmc_mae.data.blob import Blob

GRID = 64  # cells of the longer side: enough for shapes of 1 % of the image
VARIATION_GRID = 256
BODY = 0.2  # of the brightness of the bright parts: brighter is body, as everything that it encloses
MARGIN = 2  # cells of the body at its border, such as skin and skull, that no lesion covers
VARIATION = 0.036  # of the side, standard deviation of the Gaussian window in which brightness varies
LEAST_VARIATION = 0.03  # for images without any texture
INSIDE = 0.97  # of the shape must lie in the body

Image = Float[np.ndarray, "height width"]


def find_body(brightness: Float[np.ndarray, "row column"]) -> Bool[np.ndarray, "row column"]:
    """Return True where a coarse image shows the body; everywhere for an image that is black."""
    smooth = ndimage.gaussian_filter(brightness, 1.0)
    bright = smooth > BODY * np.quantile(smooth, 0.95)
    body: Bool[np.ndarray, "row column"] = ndimage.binary_fill_holes(bright)
    # What lies beyond the edge of the image is taken for body: many radiographs are cut there.
    inner: Bool[np.ndarray, "row column"] = ndimage.binary_erosion(body, iterations=MARGIN, border_value=1)
    return inner if inner.any() else np.ones_like(body)


def local_variation(image: Image) -> float:
    """Return the typical standard deviation of the brightness in a small window of the body, 0.03 at least."""
    small = _shrink(image, VARIATION_GRID)
    sigma = VARIATION * small.size**0.5
    mean, power = ndimage.gaussian_filter(small, sigma), ndimage.gaussian_filter(small**2, sigma)
    body = find_body(_shrink(small))
    enlarged = ndimage.zoom(body.astype(float), np.divide(small.shape, body.shape), order=0)
    deviations = np.sqrt(np.clip(power - mean**2, 0, None))[enlarged > 0.5]
    return max(LEAST_VARIATION, float(np.median(deviations)))


@dataclass(frozen=True)
class Ground:
    """An image in which shapes are placed, coarse because places need not be exact.

    Attributes:
        brightness: means of cells.
        body: True in cells of the body.
        height: of the image, pixels.
        width: of the image, pixels.
    """

    brightness: Float[np.ndarray, "row column"]
    body: Bool[np.ndarray, "row column"]
    height: int
    width: int

    @classmethod
    def of_image(cls, image: Image) -> "Ground":
        """Return the ground of a grey image."""
        coarse = _shrink(image)
        return cls(coarse, find_body(coarse), *image.shape)

    def draw_center(self, blob: Blob, generator: np.random.Generator) -> tuple[float, float]:
        """Return a center at which a shape lies inside the body, in the unit of `Blob`.

        The brighter the surroundings, the likelier: dark margins of the body are rarely where a lesion is. Where the
        shape fits nowhere, the place that covers most of the body is taken.
        """
        rows, columns = self.body.shape
        shape = _centered(blob, rows, columns)
        inside = signal.correlate(self.body.astype(float), shape, mode="same", method="fft")
        brightness = signal.correlate(self.brightness, shape, mode="same", method="fft")
        allowed = inside >= min(INSIDE, inside.max() - 1e-6)
        weights = (np.clip(brightness, 0, None) + 1e-3) * allowed
        cell = generator.choice(weights.size, p=weights.ravel() / weights.sum())
        place = np.array(np.unravel_index(cell, weights.shape)) + generator.random(2)
        row, column = place / weights.shape * (self.height, self.width) / (self.height * self.width) ** 0.5
        return float(row), float(column)


def _shrink(image: Image, grid: int = GRID) -> Float[np.ndarray, "row column"]:
    """Return means of equal cells, with the longer side of ``grid`` cells at most and both sides odd."""
    factor = max(1.0, max(image.shape) / grid)
    # With an odd number of cells there is one in the middle, at which correlation counts the shape.
    rows, columns = (max(1, int(side / factor) - (1 - int(side / factor) % 2)) for side in image.shape)
    summed = np.pad(image.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    top, left = (
        np.linspace(0, side, cells + 1).astype(int) for side, cells in zip(image.shape, (rows, columns), strict=True)
    )
    sums = np.diff(np.diff(summed[top][:, left], axis=0), axis=1)
    means: Float[np.ndarray, "row column"] = sums / (np.diff(top)[:, None] * np.diff(left)[None])
    return means


def _centered(blob: Blob, rows: int, columns: int) -> Float[np.ndarray, "row column"]:
    """Return the share of each cell in the shape when it lies in the middle; the shares sum to 1."""
    unit = (rows * columns) ** 0.5
    middle = Blob(blob.share, blob.aspect, blob.angle, blob.bumps, (rows / 2 / unit, columns / 2 / unit))
    shape = (middle.radii(rows, columns) <= 1).astype(float)
    if not shape.any():  # smaller than a cell
        shape[rows // 2, columns // 2] = 1
    shares: Float[np.ndarray, "row column"] = shape / shape.sum()
    return shares
