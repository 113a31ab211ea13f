"""Drawing of people, once for each phase of the stride; frames show scaled copies."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import cos, pi, sin
from typing import TypeAlias, TypeVar

import numpy as np
from PIL import Image, ImageDraw

Color: TypeAlias = tuple[int, int, int]
Point: TypeAlias = tuple[float, float]
Choice = TypeVar("Choice")

NUM_PHASES = 8
SPRITE_ASPECT = 0.6  # width of a person's picture relative to its height
_DRAWN_SIZE = (192, 320)  # width, height in pixels, before it is reduced for smooth edges

_SKINS = ((244, 208, 177), (224, 172, 125), (181, 126, 84), (124, 78, 50), (86, 54, 38))
_HAIRS = ((36, 28, 24), (78, 48, 28), (132, 86, 42), (206, 168, 98), (150, 150, 150), (142, 58, 30))
_CLOTHES = (
    (204, 52, 48), (232, 128, 38), (240, 200, 62), (72, 150, 80), (42, 122, 148), (52, 86, 168),
    (124, 78, 160), (214, 112, 156), (238, 236, 228), (60, 62, 70), (120, 92, 70), (150, 196, 206),
)  # fmt: skip
_TROUSERS = ((44, 52, 78), (38, 38, 42), (92, 84, 72), (70, 92, 122), (156, 146, 124), (84, 46, 44))
_PATTERNS = ("plain", "hoops", "stripes", "checks", "dots", "sash")
_HEADWEAR = ("short", "long", "hat", "hood")


@dataclass(frozen=True)
class Look:
    """The appearance of a person."""

    skin: Color
    hair: Color
    headwear: str  # short, long, hat or hood
    top: Color
    second: Color  # of the pattern of the top, and of hats and hoods
    pattern: str
    trousers: Color
    has_coat: bool  # the top reaches to the knees
    bag: Color | None
    width: float  # relative to the average


def pick(generator: np.random.Generator, choices: Sequence[Choice]) -> Choice:
    """Return a random element."""
    return choices[int(generator.integers(len(choices)))]


def random_look(generator: np.random.Generator) -> Look:
    """Return a random appearance."""
    top, second = (_CLOTHES[index] for index in generator.choice(len(_CLOTHES), 2, replace=False))
    return Look(
        skin=pick(generator, _SKINS),
        hair=pick(generator, _HAIRS),
        headwear=pick(generator, _HEADWEAR),
        top=top,
        second=second,
        pattern=pick(generator, _PATTERNS),
        trousers=pick(generator, _TROUSERS),
        has_coat=bool(generator.random() < 0.3),
        bag=pick(generator, _CLOTHES) if generator.random() < 0.35 else None,
        width=float(generator.uniform(0.9, 1.2)),
    )


def shade(color: Color, factor: float) -> Color:
    """Return a lighter (above 1) or darker color."""
    red, green, blue = (min(255, max(0, round(channel * factor))) for channel in color)
    return red, green, blue


@dataclass(frozen=True)
class Sprite:
    """A picture with transparency.

    Attributes:
        picture: RGBA.
        outline: 255 where the picture is not transparent, 0 elsewhere; at a quarter of the size.
        box: left, top, width, height of the outline, relative to the size.
    """

    picture: Image.Image
    outline: Image.Image
    box: tuple[float, float, float, float]

    @classmethod
    def of(cls, picture: Image.Image) -> "Sprite":
        """Return a picture with its outline."""
        solid = picture.getchannel("A").point([0] * 128 + [255] * 128)
        left, top, right, bottom = solid.getbbox() or (0, 0, *picture.size)
        width, height = picture.size
        quarter = (max(1, width // 4), max(1, height // 4))
        box = (left / width, top / height, (right - left) / width, (bottom - top) / height)
        return cls(picture, solid.resize(quarter, Image.Resampling.NEAREST), box)


@lru_cache(maxsize=2048)  # 15 kB each, or 60 kB when large
def draw_person(look: Look, phase: int, *, faces_left: bool, is_large: bool) -> Sprite:
    """Draw a walking person in a phase of the stride, 80 pixels high, or 160 if large."""
    picture = Image.new("RGBA", _DRAWN_SIZE, (*look.top, 0))
    _draw_body(ImageDraw.Draw(picture), picture, look, 2 * pi * phase / NUM_PHASES)
    if faces_left:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return Sprite.of(picture.reduce(2 if is_large else 4))


def _draw_body(draw: ImageDraw.ImageDraw, picture: Image.Image, look: Look, angle: float) -> None:
    """Draw from the far side to the near one, facing right."""
    middle, swing = 96.0, 30 * sin(angle)
    bob = 4 * abs(cos(angle))  # the body is lowest when the legs are apart
    shoulder, hip = 66 + bob, 170 + bob
    half = 25 * look.width
    _draw_leg(draw, (middle - 4, hip), -swing, shade(look.trousers, 0.72), max(0.0, cos(angle)))
    _draw_arm(draw, (middle, shoulder + 12), swing * 1.2, shade(look.top, 0.65), look.skin)
    if look.bag:
        draw.rounded_rectangle((middle - half - 20, shoulder + 6, middle - 6, hip - 22), 12, fill=look.bag)
        draw.rounded_rectangle((middle - half - 20, shoulder + 52, middle - 12, hip - 24), 8, fill=shade(look.bag, 0.8))
    _draw_leg(draw, (middle + 4, hip), swing, look.trousers, max(0.0, -cos(angle)))
    _draw_torso(picture, look, (middle - half, shoulder, middle + half, hip + (52 if look.has_coat else 8)))
    _draw_head(draw, look, middle + 3, shoulder)
    _draw_arm(draw, (middle, shoulder + 14), -swing * 1.2, shade(look.top, 0.85), look.skin)


def _limb(draw: ImageDraw.ImageDraw, points: list[Point], thickness: int, color: Color) -> None:
    draw.line(points, fill=color, width=thickness, joint="curve")
    radius = thickness / 2
    for x, y in points:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)


def _draw_leg(draw: ImageDraw.ImageDraw, hip: Point, swing: float, color: Color, lift: float) -> None:
    x, y = hip
    knee = (x + 0.7 * swing + 14 * lift, y + 64)
    foot = (x + 1.5 * swing - 16 * lift, 300 - 20 * lift - 0.15 * abs(swing))
    _limb(draw, [(x, y), knee, foot], 25, color)
    draw.rounded_rectangle((foot[0] - 13, foot[1] - 2, foot[0] + 27, foot[1] + 17), 8, fill=(46, 38, 36))


def _draw_arm(draw: ImageDraw.ImageDraw, shoulder: Point, swing: float, color: Color, skin: Color) -> None:
    x, y = shoulder
    hand = (x + 1.3 * swing + 6, y + 92)
    draw.ellipse((hand[0] - 9, hand[1] - 4, hand[0] + 9, hand[1] + 16), fill=skin)
    _limb(draw, [(x, y), (x + 0.5 * swing - 4, y + 46), hand], 19, color)


def _draw_torso(picture: Image.Image, look: Look, box: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = map(round, box)
    size = (right - left, bottom - top)
    outline = Image.new("L", size, 0)
    ImageDraw.Draw(outline).rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), 20, fill=255)
    cloth = _draw_cloth(look, size)
    light = Image.linear_gradient("L").rotate(90).resize(size).point([150 - level // 2 for level in range(256)])
    # Only the far side is darkened.
    light = light.point([min(255, 140 + level) for level in range(256)])
    picture.paste(Image.composite(cloth, Image.new("RGB", size, shade(look.top, 0.55)), light), (left, top), outline)


def _draw_cloth(look: Look, size: tuple[int, int]) -> Image.Image:
    width, height = size
    cloth = Image.new("RGB", size, look.top)
    draw = ImageDraw.Draw(cloth)
    if look.pattern in {"hoops", "checks"}:
        for y in range(10, height, 28):
            draw.rectangle((0, y, width, y + 12), fill=look.second)
    if look.pattern in {"stripes", "checks"}:
        for x in range(4, width, 20):
            draw.rectangle((x, 0, x + 7, height), fill=look.second)
    if look.pattern == "dots":
        for row, y in enumerate(range(8, height, 22)):
            for x in range(6 + 10 * (row % 2), width, 20):
                draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=look.second)
    if look.pattern == "sash":
        draw.polygon([(0, 0), (22, 0), (width, height * 0.7), (width, height), (width - 4, height)], fill=look.second)
    return cloth


def _draw_head(draw: ImageDraw.ImageDraw, look: Look, middle: float, shoulder: float) -> None:
    chin, crown, radius = shoulder - 2, shoulder - 54, 22
    draw.rectangle((middle - 8, chin - 8, middle + 8, shoulder + 6), fill=shade(look.skin, 0.85))
    if look.headwear == "long":
        draw.rounded_rectangle((middle - 27, crown + 4, middle + 10, shoulder + 22), 14, fill=look.hair)
    draw.ellipse((middle - radius, crown, middle + radius, chin), fill=look.skin)
    if look.headwear == "hood":
        draw.pieslice((middle - 26, crown - 6, middle + 26, chin + 8), 75, 315, fill=look.second)
    else:
        draw.pieslice((middle - 25, crown - 4, middle + 24, chin - 2), 120, 330, fill=look.hair)
    if look.headwear == "hat":
        draw.rounded_rectangle((middle - 22, crown - 10, middle + 22, crown + 16), 8, fill=look.second)
        draw.rounded_rectangle((middle - 30, crown + 10, middle + 36, crown + 18), 4, fill=shade(look.second, 0.75))
