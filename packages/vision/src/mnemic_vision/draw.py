"""Tracks drawn on frames: boxes, identities, scores and the way each object came."""

import colorsys
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from jaxtyping import Integer
from PIL import Image, ImageDraw, ImageFont

from mnemic_core.errors import UserError
from mnemic_vision.tracks import Track
from mnemic_vision.video import Frame

Color: TypeAlias = tuple[int, int, int]
Point: TypeAlias = tuple[float, float]
Corners: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom in pixels
Paint: TypeAlias = Integer[np.ndarray, "*area 3"]  # one color, or one for each pixel of the shape
Draw: TypeAlias = Callable[[ImageDraw.ImageDraw, Callable[[Point], Point]], None]  # pen, and from image to pen

_SMOOTH = 3  # shapes are drawn this many times larger and reduced, since Pillow draws with jagged edges
_FAR = 100_000.0  # coordinates beyond this are drawn here: far outside any image, and small enough for Pillow
_DARK_INK_ABOVE = 140.0  # luminance of a plate from which black letters read better than white ones


class Trails:
    """The recent middle points of every track, as lines to draw behind the boxes.

    Args:
        length: frames that a trail reaches back. Points older than that are dropped, and so are tracks that were not
            seen for so long: at most ``length`` points are held for each track of the last ``length`` frames.

    Example:
        >>> trails = Trails(length=2)
        >>> for x in (0.0, 10.0, 20.0):
        ...     trails.update([Track(id=1, label=0, score=0.9, box=(x, 0.0, 4.0, 4.0))])
        >>> trails.points(1)
        [(12.0, 2.0), (22.0, 2.0)]
    """

    def __init__(self, length: int = 30) -> None:
        if length < 1:
            raise UserError(f"length must be at least 1 frame, got {length}")
        self.length = length
        self._frame = 0
        self._points: dict[int, deque[tuple[int, Point]]] = {}

    def update(self, tracks: Iterable[Track]) -> None:
        """Add the tracks of the next frame."""
        self._frame += 1
        for track in tracks:
            self._points.setdefault(track.id, deque(maxlen=self.length)).append((self._frame, track.center))
        oldest = self._frame - self.length
        for points in self._points.values():
            while points and points[0][0] <= oldest:
                points.popleft()
        self._points = {identity: points for identity, points in self._points.items() if points}

    @property
    def ids(self) -> list[int]:
        """The tracks with at least one point."""
        return list(self._points)

    def points(self, identity: int) -> list[Point]:
        """Return the (x, y) points of a track in pixels, oldest first; empty for an unknown track."""
        return [point for _, point in self._points.get(identity, ())]

    def freshness(self, identity: int) -> list[float]:
        """Return how recent each of these points is, from above 0 (about to go) to 1 (this frame)."""
        return [1 - (self._frame - frame) / self.length for frame, _ in self._points.get(identity, ())]


def color_of(identity: int) -> Color:
    """Return the RGB color of a track, the same in every frame and run.

    Hues a golden section apart keep any run of ids distinct; a second, independent step in brightness separates the
    ids whose hues come close again.
    """
    hue = identity * 0.618033988749895 % 1
    shade = identity * 0.7548776662466927 % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.62 + 0.3 * shade, 1.0 - 0.22 * shade)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_tracks(
    image: Frame,
    tracks: Sequence[Track],
    *,
    trails: Trails | None = None,
    lost: Sequence[Track] = (),
    names: Sequence[str] | None = None,
) -> Frame:
    """Draw tracks on a copy of a frame; lines and letters grow with the image.

    Args:
        image: RGB frame (height, width, 3) of any size.
        tracks: boxes to draw with identity and score.
        trails: where the tracks came from; call ``trails.update(tracks)`` first.
        lost: tracks that are remembered but not seen, drawn faintly at their last box and without a score.
        names: name of each label, written beside the identity.

    Example:
        >>> black = np.zeros((48, 64, 3), dtype=np.uint8)
        >>> drawn = draw_tracks(black, [Track(id=1, label=0, score=0.9, box=(8.0, 20.0, 20.0, 20.0))])
        >>> bool(black.any()), bool(drawn.any())
        (False, True)
    """
    canvas = _Canvas(image)
    if trails is not None:
        for identity in trails.ids:
            canvas.trail(trails.points(identity), trails.freshness(identity), color_of(identity))
    for track in lost:
        canvas.box(track.box, color_of(track.id), opacity=0.45)
        canvas.label(track.box, f"{track.id}", color_of(track.id), opacity=0.45)
    # From back to front: whose feet are lower in the picture stands nearer to the camera.
    ordered = sorted(tracks, key=lambda track: track.box[1] + track.box[3])
    for track in ordered:
        canvas.box(track.box, color_of(track.id))
    for track in ordered:
        name = f" {names[track.label]}" if names else ""
        canvas.label(track.box, f"{track.id}{name}  {track.score:.2f}", color_of(track.id))
    return canvas.pixels


class _Canvas:
    """An image that shapes are blended onto, with one line width and letter size for all of them."""

    def __init__(self, image: Frame) -> None:
        self.pixels = image.copy()
        short_side = min(image.shape[:2])
        self._line = max(1.0, short_side / 300)
        self._font_size = max(9, round(short_side / 42))
        self._font = _font(self._font_size)
        self._plates: list[tuple[int, int, int, int]] = []  # left, top, width, height of the labels so far

    def trail(self, points: Sequence[Point], freshness: Sequence[float], color: Color) -> None:
        """A line that gets thinner and fainter towards the past."""
        if len(points) < 2:
            return

        def draw(pen: ImageDraw.ImageDraw, place: Callable[[Point], Point]) -> None:
            for start, end, fresh in zip(points[:-1], points[1:], freshness[1:], strict=True):
                width = self._line * (0.6 + fresh) * _SMOOTH
                ends = [place(start), place(end)]
                level = round(255 * fresh)
                pen.line(ends, fill=level, width=round(width))
                for x, y in ends:  # round joints
                    pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=level)

        xs, ys = zip(*points, strict=True)
        margin = 2 * self._line
        self._stamp((min(xs) - margin, min(ys) - margin, max(xs) + margin, max(ys) + margin), color, draw, 0.85)

    def box(self, box_xywh: Corners, color: Color, opacity: float = 1.0) -> None:
        """A rounded outline."""
        left, top, width, height = box_xywh
        right, bottom = left + width, top + height
        line, rim = self._line, max(0.5, self._line / 3)
        radius = min(3 * line, width / 4, height / 4)

        def outline(margin: float) -> Draw:
            def draw(pen: ImageDraw.ImageDraw, place: Callable[[Point], Point]) -> None:
                corners = [place((left - margin, top - margin)), place((right + margin, bottom + margin))]
                pen.rounded_rectangle(
                    corners, (radius + margin) * _SMOOTH, outline=255, width=round((line + 2 * margin) * _SMOOTH)
                )

            return draw

        around = (left - line, top - line, right + line, bottom + line)
        self._stamp(around, (0, 0, 0), outline(rim), 0.4 * opacity)  # a dark rim parts the line from a like background
        self._stamp(around, color, outline(0.0), opacity)

    def label(self, box_xywh: Corners, text: str, color: Color, opacity: float = 1.0) -> None:
        """Text on a plate above the box, or inside where the image ends; always within the image."""
        gap = max(2, round(self._font_size * 0.28))
        width, height = round(self._font.getlength(text)) + 2 * gap, self._font_size + gap
        plate = Image.new("RGB", (width, height), color)
        ink = "black" if _luminance(color) > _DARK_INK_ABOVE else "white"
        ImageDraw.Draw(plate).text((width / 2, height / 2), text, fill=ink, font=self._font, anchor="mm")
        x, y = self._free_place(box_xywh, width, height)
        shape = Image.new("L", (width * _SMOOTH, height * _SMOOTH))
        ImageDraw.Draw(shape).rounded_rectangle((0, 0, shape.width - 1, shape.height - 1), gap * _SMOOTH, fill=255)
        self._blend(x, y, np.asarray(plate), shape, opacity)

    def _free_place(self, box_xywh: Corners, width: int, height: int) -> tuple[int, int]:
        """Left top corner for a plate: above its box, moved up over other plates, and always within the image."""
        image_height, image_width = self.pixels.shape[:2]
        left = round(min(max(box_xywh[0], 0), max(image_width - width, 0)))
        above = box_xywh[1] - height - self._line
        top = round(min(max(above if above >= 0 else box_xywh[1] + self._line, 0), max(image_height - height, 0)))
        for x, y, other_width, other_height in sorted(self._plates, key=lambda plate: -plate[1]):
            covers = -other_width < x - left < width and -other_height < y - top < height
            if covers and y >= height:
                top = y - height
        self._plates.append((left, top, width, height))
        return left, top

    def _stamp(self, corners: Corners, color: Color, draw: Draw, opacity: float) -> None:
        """Blend a shape within ``corners`` onto the image; ``draw`` paints its coverage, 0 to 255."""
        left, top = (max(math.floor(value), 0) for value in corners[:2])
        right, bottom = (
            min(math.ceil(value), side) for value, side in zip(corners[2:], self.pixels.shape[1::-1], strict=True)
        )
        if right <= left or bottom <= top:
            return

        def place(point: Point) -> Point:
            x, y = ((value - start) * _SMOOTH for value, start in zip(point, (left, top), strict=True))
            return min(max(x, -_FAR), _FAR), min(max(y, -_FAR), _FAR)

        coverage = Image.new("L", ((right - left) * _SMOOTH, (bottom - top) * _SMOOTH))
        draw(ImageDraw.Draw(coverage), place)
        self._blend(left, top, np.array(color), coverage, opacity)

    def _blend(self, left: int, top: int, paint: Paint, coverage: Image.Image, opacity: float) -> None:
        """Mix paint into the image; what reaches beyond the right or lower edge is cut off."""
        share = np.asarray(coverage.reduce(_SMOOTH), dtype=np.float32)[..., None] * (opacity / 255)
        region = self.pixels[top : top + share.shape[0], left : left + share.shape[1]]
        height, width = region.shape[:2]
        paint = np.broadcast_to(paint, (*share.shape[:2], 3))[:height, :width]
        region[:] = np.rint(region + (paint - region.astype(np.float32)) * share[:height, :width])


def _luminance(color: Color) -> float:
    """Perceived brightness, 0 to 255 (ITU-R BT.601)."""
    red, green, blue = color
    return 0.299 * red + 0.587 * green + 0.114 * blue


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
