"""Drawing of tracks on frames: boxes, identities, scores and trails."""

import colorsys
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mnemic_core.errors import UserError
from mnemic_vision.tracks import Track
from mnemic_vision.video import Frame

Color: TypeAlias = tuple[int, int, int]
Point: TypeAlias = tuple[float, float]
Font: TypeAlias = ImageFont.ImageFont | ImageFont.FreeTypeFont
Box: TypeAlias = tuple[float, float, float, float]  # left, top, width, height in pixels

_FAR = 100_000.0  # Pillow cannot draw at larger coordinates, which are outside of any image
_LOST = 0.45  # opacity of lost tracks
_DARK_INK_ABOVE = 140.0  # luminance of a label above which black letters are easier to read than white ones


class Trails:
    """The recent centers of each track.

    Args:
        length: number of frames in a trail; older points are dropped, and tracks without points.

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
        """Identities with at least one point."""
        return list(self._points)

    def points(self, identity: int) -> list[Point]:
        """Return the points (x, y) of a track in pixels, oldest first; none for an unknown track."""
        return [point for _, point in self._points.get(identity, ())]

    def freshness(self, identity: int) -> list[float]:
        """Return the recency of each of these points, above 0 and up to 1 (this frame)."""
        return [1 - (self._frame - frame) / self.length for frame, _ in self._points.get(identity, ())]


def color_of(identity: int) -> Color:
    """Return the RGB color of a track, the same in every frame and run.

    Hues differ by golden ratio steps, so that successive ids are distinct; an independent sequence of brightness
    separates ids of similar hue.
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
    """Return a frame with tracks drawn on it; line width and font size are proportional to its size.

    Args:
        image: RGB frame (height, width, 3) of any size.
        tracks: boxes to draw with identity and score.
        trails: previous centers of tracks, drawn for those that are drawn; call ``trails.update(tracks)`` first.
        lost: tracks that are not visible, drawn faintly at their last box without a score.
        names: name of each label, drawn after the identity.

    Example:
        >>> black = np.zeros((48, 64, 3), dtype=np.uint8)
        >>> drawn = draw_tracks(black, [Track(id=1, label=0, score=0.9, box=(8.0, 20.0, 20.0, 20.0))])
        >>> bool(black.any()), bool(drawn.any())
        (False, True)
    """
    canvas = Image.fromarray(image)
    painter = _Painter(canvas)
    if trails is not None:
        shown = {track.id for track in (*tracks, *lost)}
        for identity in filter(shown.__contains__, trails.ids):
            painter.trail(trails.points(identity), trails.freshness(identity), color_of(identity))
    for track in lost:
        painter.box(track.box, color_of(track.id), opacity=_LOST)
        painter.label(track.box, f"{track.id}", color_of(track.id), opacity=_LOST)
    # From back to front: an object whose box ends lower in the image is nearer to the camera.
    ordered = sorted(tracks, key=lambda track: track.box[1] + track.box[3])
    for track in ordered:
        painter.box(track.box, color_of(track.id))
    for track in ordered:
        name = f" {names[track.label]}" if names else ""
        painter.label(track.box, f"{track.id}{name}  {track.score:.2f}", color_of(track.id))
    return np.array(canvas)


def draw_plate(
    pen: ImageDraw.ImageDraw,
    place: tuple[int, int, int, int],
    text: str,
    font: Font,
    color: Color,
    opacity: float = 1.0,
) -> None:
    """Draw text in the middle of a plate, in black or white, whichever is easier to read on its color.

    Args:
        pen: in the mode RGBA.
        place: left, top, width and height of the plate in pixels.
        text: on it.
        font: of the text.
        color: of the plate.
        opacity: of both, 0 to 1.
    """
    left, top, width, height = place
    luminance = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]  # ITU-R BT.601
    ink, alpha = (0, 0, 0) if luminance > _DARK_INK_ABOVE else (255, 255, 255), round(255 * opacity)
    corners = (left, top, left + width - 1, top + height - 1)
    pen.rounded_rectangle(corners, round(height * 0.22), fill=(*color, alpha))
    pen.text((left + width / 2, top + height / 2), text, fill=(*ink, alpha), font=font, anchor="mm")


class _Painter:
    """Draws on an image, with line width and letters in proportion to its size."""

    def __init__(self, canvas: Image.Image) -> None:
        self.size = canvas.size
        self.pen = ImageDraw.Draw(canvas, "RGBA")  # blends colors by their opacity
        self.line = max(1, round(min(canvas.size) / 300))
        self.font_size = max(9, round(min(canvas.size) / 42))
        self.font = ImageFont.load_default(self.font_size)
        self.labels: list[tuple[int, int, int, int]] = []  # left, top, width, height

    def trail(self, points: Sequence[Point], freshness: Sequence[float], color: Color) -> None:
        """A line that gets thinner and fainter towards the past."""
        for start, end, fresh in zip(points, points[1:], freshness[1:], strict=False):
            width = max(1, round(self.line * (0.6 + fresh)))
            self.pen.line([_bounded(start), _bounded(end)], fill=(*color, round(217 * fresh)), width=width)

    def box(self, box_xywh: Box, color: Color, opacity: float = 1.0) -> None:
        """A rounded outline with a dark rim, which separates it from a background of the same color."""
        left, top, width, height = box_xywh
        radius = min(3 * self.line, width / 4, height / 4)
        rim = max(1, round(self.line / 2))
        for margin, paint in ((rim, (0, 0, 0, 0.4 * opacity)), (0, (*color, opacity))):
            corners = _bounded((left - margin, top - margin)), _bounded((left + width + margin, top + height + margin))
            fill = (*paint[:3], round(255 * paint[3]))
            self.pen.rounded_rectangle(corners, radius + margin, outline=fill, width=self.line + 2 * margin)

    def label(self, box_xywh: Box, text: str, color: Color, opacity: float = 1.0) -> None:
        """Text on a colored plate above the box, or inside where the image ends; always within the image."""
        gap = max(2, round(self.font_size * 0.28))
        width, height = round(self.font.getlength(text)) + 2 * gap, self.font_size + gap
        left, top = self._free_place(box_xywh, width, height)
        draw_plate(self.pen, (left, top, width, height), text, self.font, color, opacity)

    def _free_place(self, box_xywh: Box, width: int, height: int) -> tuple[int, int]:
        """Left top corner for a label: above its box, moved up over other labels, and always within the image."""
        left = round(min(max(box_xywh[0], 0), max(self.size[0] - width, 0)))
        above = box_xywh[1] - height - self.line
        top = round(min(max(above if above >= 0 else box_xywh[1] + self.line, 0), max(self.size[1] - height, 0)))
        for x, y, other_width, other_height in sorted(self.labels, key=lambda label: -label[1]):
            covers = -other_width < x - left < width and -other_height < y - top < height
            if covers and y >= height:
                top = y - height
        self.labels.append((left, top, width, height))
        return left, top


def _bounded(point: Point) -> Point:
    x, y = (min(max(value, -_FAR), _FAR) for value in point)
    return x, y
