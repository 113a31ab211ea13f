"""Elliptic and irregular shapes of a given area."""

from dataclasses import dataclass
from math import exp, log, pi

import numpy as np
from jaxtyping import Float

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

    def radii(self, height: int, width: int) -> Float[np.ndarray, "height width"]:
        """Return the distance of every pixel from the center, 1 at the contour and below 1 inside."""
        unit = (height * width) ** 0.5
        y = ((np.arange(height) + 0.5) / unit - self.center[0])[:, None]
        x = ((np.arange(width) + 0.5) / unit - self.center[1])[None]
        along = (x * np.cos(self.angle) + y * np.sin(self.angle)) / self.aspect**0.5
        across = (y * np.cos(self.angle) - x * np.sin(self.angle)) * self.aspect**0.5
        contour = self._contour(np.arctan2(across, along))
        # The area is half the integral of the squared radius over the angle.
        area = pi * np.mean(self._contour(np.linspace(0, 2 * pi, 360, endpoint=False)) ** 2)
        radii: Float[np.ndarray, "height width"] = np.hypot(along, across) / contour * (area / self.share) ** 0.5
        return radii

    def opacity(self, height: int, width: int, softness: float) -> Float[np.ndarray, "height width"]:
        """Return 1 inside and 0 outside, with a smooth border in which the contour has 0.5.

        Args:
            height: pixels.
            width: pixels.
            softness: half the width of the border, relative to the radius; above 0.
        """
        ramp = np.clip((1 + softness - self.radii(height, width)) / (2 * softness), 0, 1)
        opacity: Float[np.ndarray, "height width"] = ramp * ramp * (3 - 2 * ramp)
        return opacity

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
