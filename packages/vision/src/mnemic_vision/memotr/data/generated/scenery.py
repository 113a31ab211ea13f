"""The static part of the generated scenes: ground, houses, and obstacles that hide people."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageDraw, ImageFilter

from mnemic_vision.memotr.data.generated.sprites import Color, Sprite, pick, shade
from mnemic_vision.memotr.data.generated.walkers import FARTHEST, Hideout, person_height

_GROUNDS = ((176, 168, 154), (160, 164, 168), (186, 172, 146), (148, 158, 132))
_WALLS = ((172, 122, 98), (196, 184, 158), (128, 140, 156), (158, 148, 140), (186, 150, 120))
_SIGNS = ((196, 60, 52), (46, 104, 150), (60, 132, 92), (222, 166, 60), (118, 76, 142))
_HORIZON = 0.3  # where wall and ground meet, in image heights


@dataclass(frozen=True)
class Obstacle:
    """An obstacle on the ground; lengths are in image heights.

    Attributes:
        x: center.
        base: where it touches the ground; people whose feet are higher in the image are behind it.
        width: of the obstacle.
        sprite: its picture, at the size at which it is shown.
    """

    x: float
    base: float
    width: float
    sprite: Sprite

    @property
    def hideout(self) -> Hideout:
        """The place behind it."""
        return Hideout(self.x, self.base - 0.03, self.width / 2)


def random_obstacles(generator: np.random.Generator, aspect: float, rows: int) -> list[Obstacle]:
    """Place some of a pillar, a billboard, a kiosk and a hedge side by side in an image of ``rows`` pixels' height."""
    kinds = list(generator.permutation(list(_OBSTACLES)))[: max(1, min(4, round(2.2 * aspect)))]
    spaces = np.linspace(0, aspect, len(kinds) + 1)
    obstacles = []
    for kind, left, right in zip(kinds, spaces, spaces[1:], strict=False):
        base = float(generator.uniform(FARTHEST + 0.22, 0.94))
        height = person_height(base)
        draw, width_factor, height_factor = _OBSTACLES[kind]
        width = height * width_factor * float(generator.uniform(0.9, 1.15))
        size = (max(4, round(width * rows)), max(4, round(height * height_factor * rows)))
        x = float(generator.uniform(left + 0.35 * (right - left), left + 0.65 * (right - left)))
        picture = Image.new("RGBA", (2 * size[0], 2 * size[1]), (90, 90, 90, 0))
        draw(ImageDraw.Draw(picture), *picture.size, generator)
        obstacles.append(Obstacle(x, base, width, Sprite.of(picture.reduce(2))))
    return obstacles


def _draw_pillar(draw: ImageDraw.ImageDraw, width: int, height: int, generator: np.random.Generator) -> None:
    stone = shade(pick(generator, _WALLS), 1.1)
    for x in range(width // 12, width - width // 12):  # a round column is brightest left of its center
        light = 0.55 + 0.55 * float(np.sin(np.pi * (x / width) ** 0.8))
        draw.line((x, 0, x, height), fill=(*shade(stone, light), 255))
    for top, bottom in ((0, height // 14), (height - height // 12, height)):
        draw.rectangle((0, top, width, bottom), fill=(*shade(stone, 0.8), 255))
    band = height // 3
    draw.rectangle((width // 12, band, width - width // 12 - 1, band + height // 40), fill=(*shade(stone, 0.6), 255))


def _draw_billboard(draw: ImageDraw.ImageDraw, width: int, height: int, generator: np.random.Generator) -> None:
    first, second, third = (_SIGNS[index] for index in generator.choice(len(_SIGNS), 3, replace=False))
    draw.rectangle((0, 0, width, height), fill=(64, 66, 72, 255))
    edge = max(2, width // 24)
    draw.rectangle((edge, edge, width - edge, height - 3 * edge), fill=(*shade(first, 1.15), 255))
    draw.ellipse((width * 0.45, height * 0.12, width * 0.88, height * 0.12 + width * 0.43), fill=(*second, 255))
    hills = [(edge, height * 0.8), (width * 0.35, height * 0.45), (width * 0.7, height * 0.8)]
    draw.polygon(hills, fill=(*shade(third, 0.9), 255))
    for line in range(2):
        y = height * (0.83 + 0.055 * line)
        draw.rectangle((width * 0.14, y, width * (0.8 - 0.25 * line), y + height * 0.025), fill=(240, 240, 236, 255))


def _draw_kiosk(draw: ImageDraw.ImageDraw, width: int, height: int, generator: np.random.Generator) -> None:
    color = pick(generator, _SIGNS)
    inset = width // 16
    draw.rectangle((inset, height * 0.18, width - inset, height), fill=(*shade(color, 0.75), 255))
    draw.rectangle((inset * 2, height * 0.34, width - inset * 2, height * 0.6), fill=(52, 58, 70, 255))
    draw.polygon(
        [(inset * 3, height * 0.34), (inset * 6, height * 0.34), (inset * 3, height * 0.6), (inset * 2, height * 0.6)],
        fill=(92, 104, 120, 255),
    )
    draw.rectangle((inset, height * 0.6, width - inset, height * 0.66), fill=(*shade(color, 1.2), 255))
    for stripe in range(8):
        fill = (242, 238, 228, 255) if stripe % 2 else (*color, 255)
        left, right = width * stripe / 8, width * (stripe + 1) / 8
        draw.rectangle((left, height * 0.05, right, height * 0.27), fill=fill)
        draw.ellipse((left, height * 0.22, right, height * 0.32), fill=fill)
    draw.rectangle((0, 0, width, height * 0.06), fill=(*shade(color, 0.6), 255))
    for board in range(1, 6):
        x = inset + (width - 2 * inset) * board / 6
        draw.line((x, height * 0.67, x, height), fill=(*shade(color, 0.6), 255), width=2)


def _draw_hedge(draw: ImageDraw.ImageDraw, width: int, height: int, generator: np.random.Generator) -> None:
    box = int(height * 0.72)
    draw.rectangle((width * 0.03, height * 0.12, width * 0.97, box), fill=(46, 84, 46, 255))
    for _ in range(260):
        x, y = generator.uniform(0.04, 0.96) * width, generator.uniform(0.1, 0.74) * height
        radius = width * generator.uniform(0.015, 0.045)
        leaf = shade((72, 122, 62), float(generator.uniform(0.6, 1.25)) * (1.15 - 0.4 * y / height))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(*leaf, 255))
    draw.rectangle((0, box, width, height), fill=(146, 116, 88, 255))
    draw.rectangle((0, box, width, box + height * 0.04), fill=(174, 142, 110, 255))


_OBSTACLES = {  # width and height in body heights
    "pillar": (_draw_pillar, 0.62, 1.7),
    "billboard": (_draw_billboard, 1.3, 1.3),
    "kiosk": (_draw_kiosk, 1.3, 1.4),
    "hedge": (_draw_hedge, 1.5, 1.15),
}


def draw_background(generator: np.random.Generator, size: tuple[int, int], margin: int) -> Image.Image:
    """Return houses and a paved square, ``margin`` pixels larger than an image of (height, width) on every side."""
    rows = size[0]
    height, width = (side + 2 * margin for side in size)
    horizon = margin + round(_HORIZON * rows)
    picture = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(picture)
    _draw_ground(draw, generator, (width, height), horizon)
    _draw_houses(draw, generator, width, horizon, rows)
    grain = _grain(generator, (height, width), rows)
    pixels = np.asarray(picture, dtype=np.float32) * (1 + 0.16 * grain[:, :, None])
    textured = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return textured.filter(ImageFilter.GaussianBlur(rows / 600))


def _draw_ground(
    draw: ImageDraw.ImageDraw, generator: np.random.Generator, size: tuple[int, int], horizon: int
) -> None:
    width, height = size
    ground, joint = pick(generator, _GROUNDS), 0.82
    for row in range(horizon, height):  # lighter in the distance
        draw.line((0, row, width, row), fill=shade(ground, 1.12 - 0.22 * (row - horizon) / (height - horizon)))
    vanishing = (width * float(generator.uniform(0.3, 0.7)), horizon - 0.5 * (height - horizon))
    for foot in np.arange(-2.0, 3.0, float(generator.uniform(0.14, 0.22))):
        slope = (foot * width - vanishing[0]) / (height - vanishing[1])
        top = vanishing[0] + slope * (horizon - vanishing[1])
        draw.line((top, horizon, foot * width, height), fill=shade(ground, joint), width=1)
    depth = 1.0
    while depth < 3:  # rows of slabs at equal distances on the ground
        y = vanishing[1] + (height - vanishing[1]) / depth
        if y < horizon:
            break
        draw.line((0, y, width, y), fill=shade(ground, joint), width=1)
        depth += 0.16


def _draw_houses(
    draw: ImageDraw.ImageDraw, generator: np.random.Generator, width: int, horizon: int, rows: int
) -> None:
    left = -0.1 * rows
    while left < width:
        house_width = rows * float(generator.uniform(0.35, 0.65))
        wall = shade(pick(generator, _WALLS), float(generator.uniform(0.8, 1.05)))
        draw.rectangle((left, 0, left + house_width, horizon), fill=wall)
        _draw_windows(draw, generator, (left, left + house_width), horizon, rows, wall)
        draw.rectangle((left, horizon - 0.02 * rows, left + house_width, horizon), fill=shade(wall, 0.6))
        left += house_width
    draw.rectangle((0, horizon, width, horizon + 0.012 * rows), fill=(112, 110, 108))


def _draw_windows(
    draw: ImageDraw.ImageDraw,
    generator: np.random.Generator,
    sides: tuple[float, float],
    horizon: int,
    rows: int,
    wall: Color,
) -> None:
    step, pane = 0.11 * rows, 0.06 * rows
    for x in np.arange(sides[0] + 0.4 * step, sides[1] - pane, step):
        for y in np.arange(horizon - 1.2 * step, -step, -1.25 * step):
            glass = shade((86, 102, 122), float(generator.uniform(0.6, 1.4)))
            draw.rectangle((x - 1, y - 1, x + pane + 1, y + 1.3 * pane + 1), fill=shade(wall, 1.15))
            draw.rectangle((x, y, x + pane, y + 1.3 * pane), fill=glass)


def _grain(generator: np.random.Generator, size: tuple[int, int], rows: int) -> Float32[np.ndarray, "height width"]:
    """Return noise of mean 0 at several scales: stains, wear, grit."""
    height, width = size
    total = np.zeros(size, dtype=np.float32)
    for cell, weight in ((rows // 3, 0.5), (rows // 12, 0.35), (max(1, rows // 40), 0.3), (1, 0.25)):
        coarse = generator.uniform(-1, 1, (height // cell + 2, width // cell + 2)).astype(np.float32)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        total += weight * np.asarray(smooth)
    return total
