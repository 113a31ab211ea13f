"""Drawing of a few equal shapes on a light background."""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw

COLORS = {
    "red": (220, 30, 40),
    "green": (30, 150, 60),
    "blue": (40, 70, 210),
    "yellow": (235, 200, 20),
    "purple": (130, 40, 160),
    "orange": (240, 125, 20),
    "brown": (115, 70, 35),
    "black": (20, 20, 20),
}
MOST_SHAPES = 4  # one in each quarter

_LIGHTEST, _DARKEST = 255, 225  # of the channels of a background
_RADII = (0.12, 0.2)  # of a shape, as shares of the side
_FREE = 0.23  # of a quarter around its center, so that shapes never touch

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Scene:
    """What a picture shows.

    Attributes:
        color: of all shapes.
        shape: kind of all shapes.
        number: of shapes.
        key: seed of their places and sizes, and of the background.
    """

    color: str
    shape: str
    number: int
    key: tuple[int, ...]

    def draw(self, size: int) -> Image.Image:
        """Return the picture; edges are not blended, so that all pixels have one of two colors."""
        generator = np.random.default_rng(self.key)
        red, green, blue = (int(value) for value in generator.integers(_DARKEST, _LIGHTEST + 1, 3))
        picture = Image.new("RGB", (size, size), (red, green, blue))
        pen = ImageDraw.Draw(picture)
        for quarter in generator.permutation(MOST_SHAPES)[: self.number].tolist():
            SHAPES[self.shape](pen, _place(generator, quarter, size), COLORS[self.color])
        return picture


def _place(generator: np.random.Generator, quarter: int, size: int) -> Box:
    """Return where a shape lies in a quarter of the picture: left, top, right and bottom."""
    radius = generator.uniform(*_RADII)
    shift = generator.uniform(radius - _FREE, _FREE - radius, 2)
    row, column = 0.25 + 0.5 * np.array(divmod(quarter, 2)) + shift
    left, top, right, bottom = (size * np.array([column - radius, row - radius, column + radius, row + radius])).round()
    return float(left), float(top), float(right), float(bottom)


def _star(pen: ImageDraw.ImageDraw, box: Box, color: tuple[int, int, int]) -> None:
    left, top, right, bottom = box
    middle, half = ((left + right) / 2, (top + bottom) / 2), (right - left) / 2
    tips = [(half if corner % 2 == 0 else 0.4 * half, pi * (corner / 5 - 0.5)) for corner in range(10)]
    pen.polygon([(middle[0] + far * cos(angle), middle[1] + far * sin(angle)) for far, angle in tips], color)


def _cross(pen: ImageDraw.ImageDraw, box: Box, color: tuple[int, int, int]) -> None:
    left, top, right, bottom = box
    third = round((right - left) / 3)
    pen.rectangle((left, top + third, right, bottom - third), color)
    pen.rectangle((left + third, top, right - third, bottom), color)


def _triangle(pen: ImageDraw.ImageDraw, box: Box, color: tuple[int, int, int]) -> None:
    left, top, right, bottom = box
    pen.polygon([((left + right) / 2, top), (right, bottom), (left, bottom)], color)


def _ring(pen: ImageDraw.ImageDraw, box: Box, color: tuple[int, int, int]) -> None:
    pen.ellipse(box, outline=color, width=max(1, round((box[2] - box[0]) / 6)))


SHAPES: dict[str, Callable[[ImageDraw.ImageDraw, Box, tuple[int, int, int]], None]] = {
    "circle": lambda pen, box, color: pen.ellipse(box, color),
    "square": lambda pen, box, color: pen.rectangle(box, color),
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
}
"""How each kind of shape is drawn into a box."""
