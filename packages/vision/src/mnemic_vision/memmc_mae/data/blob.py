"""Elliptic and irregular shapes of a given area."""

from dataclasses import dataclass
from math import exp, log, pi
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

Window: TypeAlias = tuple[slice, slice]  # rows and columns

_ANGLES = np.linspace(0, 2 * pi, 360, endpoint=False)
MAX_BUMP = 0.6  # of the radius: the contour never reaches the center


@dataclass(frozen=True)
class Blob:
    """An ellipse whose radius may vary smoothly with the angle.

    Lengths are relative to the square root of the number of pixels, so that a shape covers the same share of an image
    of any size.

    Attributes:
        share: area, as a share of the image.
        aspect: ratio of the two axes.
        angle: of the first axis, radians.
        bumps: relative amplitude and phase of each wave along the contour, from two waves around on; none: an ellipse.
        center: row and column.
    """

    share: float
    aspect: float = 1.0
    angle: float = 0.0
    bumps: tuple[tuple[float, float], ...] = ()
    center: tuple[float, float] = (0.5, 0.5)

    def radii(self, height: int, width: int, window: Window | None = None) -> Float[np.ndarray, "row column"]:
        """Return the distance of every pixel from the center, 1 at the contour and below 1 inside.

        Args:
            height: of the image, pixels.
            width: of the image, pixels.
            window: rows and columns of the image that are wanted; all if None.
        """
        unit, (rows, columns) = (height * width) ** 0.5, window or (slice(0, height), slice(0, width))
        y = ((np.arange(rows.start, rows.stop) + 0.5) / unit - self.center[0])[:, None]
        x = ((np.arange(columns.start, columns.stop) + 0.5) / unit - self.center[1])[None]
        along = (x * np.cos(self.angle) + y * np.sin(self.angle)) / self.aspect**0.5
        across = (y * np.cos(self.angle) - x * np.sin(self.angle)) * self.aspect**0.5
        contour = self._contour(np.arctan2(across, along))
        radii: Float[np.ndarray, "row column"] = np.hypot(along, across) / (contour * self._mean_radius())
        return radii

    def opacity(
        self, height: int, width: int, softness: float, window: Window | None = None
    ) -> Float[np.ndarray, "row column"]:
        """Return 1 inside and 0 outside, with a smooth border in which the contour has 0.5.

        Args:
            height: of the image, pixels.
            width: of the image, pixels.
            softness: half the width of the border, relative to the radius; above 0.
            window: as for `radii`.
        """
        ramp = np.clip((1 + softness - self.radii(height, width, window)) / (2 * softness), 0, 1)
        opacity: Float[np.ndarray, "row column"] = ramp * ramp * (3 - 2 * ramp)
        return opacity

    def window(self, height: int, width: int, softness: float) -> Window:
        """Return the rows and columns of an image outside of which the opacity is 0, and a margin of a pixel."""
        longest = max(self.aspect, 1 / self.aspect) ** 0.5 * self._mean_radius() * self._contour(_ANGLES).max()
        unit = (height * width) ** 0.5
        reach = longest * (1 + softness) * unit + 2
        first = [max(0, int(place * unit - reach)) for place in self.center]
        last = [
            min(side, int(place * unit + reach) + 1) for place, side in zip(self.center, (height, width), strict=True)
        ]
        return slice(first[0], last[0]), slice(first[1], last[1])

    def _mean_radius(self) -> float:
        """Return the length of radius 1: the area is half the integral of the squared radius over the angle."""
        return float((self.share / (pi * np.mean(self._contour(_ANGLES) ** 2))) ** 0.5)

    def _contour(self, angles: Float[np.ndarray, "*axis"]) -> Float[np.ndarray, "*axis"]:
        waves = (size * np.cos(count * angles + phase) for count, (size, phase) in enumerate(self.bumps, start=2))
        bumps: Float[np.ndarray, "*axis"] = np.clip(sum(waves, np.zeros_like(angles)), -MAX_BUMP, MAX_BUMP)
        return 1 + bumps


def draw_blob(
    generator: np.random.Generator, share: tuple[float, float], *, aspect: float = 2.0, bumps: float = 0.0
) -> Blob:
    """Return a random shape in the middle.

    Args:
        generator: source of randomness.
        share: smallest and largest area, as a share of the image; drawn log-uniformly.
        aspect: largest ratio of the axes.
        bumps: size of the irregularities, relative to the radius.
    """
    area = exp(generator.uniform(log(share[0]), log(share[1])))
    ratio = exp(generator.uniform(-log(aspect), log(aspect)))
    # Few waves with large amplitudes, many with small ones: a smooth contour.
    sizes = generator.normal(0, bumps, 5) * 2 / np.arange(2, 7) if bumps else np.empty(0)
    waves = tuple((float(size), float(generator.uniform(0, 2 * pi))) for size in sizes)
    return Blob(area, ratio, generator.uniform(0, pi), waves)
