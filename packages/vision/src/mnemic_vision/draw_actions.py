"""Drawing of detected actions on frames: a scrolling timeline at the bottom and the latest actions as captions."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mnemic_core.errors import check_range
from mnemic_vision.draw import Color, color_of, draw_plate
from mnemic_vision.matr.actions import DetectedAction
from mnemic_vision.matr.history import Moment
from mnemic_vision.video import Frame

Span: TypeAlias = tuple[float, float]  # start and end, seconds

LANES = 2  # rows of bars, so that overlapping actions are seen
CAPTIONS = 3

_SHARE = 0.17  # of the height of the frame
_CAPTION_SHARE = 0.4  # of the height, at most
_READABLE = 9  # pixels; smaller letters are left out
_CURVE = (120, 200, 255)


class RecentActions:
    """What was seen and detected in the last seconds of a stream.

    Args:
        classes: names of all classes; the place of a class decides on its color.
        seconds: how far back; earlier moments and actions are dropped.

    Attributes:
        moments: feature frames, oldest first.
        bars: actions in the order of their emission, each with its lane, which it keeps.

    Example:
        >>> recent = RecentActions(["jump"], seconds=10.0)
        >>> recent.update(Moment(3.0, flag=0.8, stored=1), [DetectedAction("jump", 0.9, 1.0, 2.5, emitted=3.0)])
        >>> [action.label for action in recent.actions]
        ['jump']
    """

    def __init__(self, classes: Sequence[str], seconds: float = 20.0) -> None:
        self.classes = tuple(classes)
        self.seconds = seconds
        check_range(self, 1e-3, 1e6, "seconds")
        self.moments: deque[Moment] = deque()
        self.bars: list[tuple[DetectedAction, int]] = []

    def update(self, moment: Moment, emitted: Iterable[DetectedAction] = ()) -> None:
        """Add the next feature frame and the actions that were emitted at it."""
        oldest = moment.time - self.seconds
        self.moments.append(moment)
        while len(self.moments) > 1 and self.moments[1].time <= oldest:  # the curve begins at the left edge
            self.moments.popleft()
        for action in emitted:
            drawn = [(_drawn_span(other), lane) for other, lane in self.bars]
            self.bars.append((action, choose_lane(_drawn_span(action), drawn)))
        self.bars = [(action, lane) for action, lane in self.bars if _drawn_span(action)[1] > oldest]

    @property
    def actions(self) -> list[DetectedAction]:
        """Actions that ended or were emitted in the last seconds, in the order of their emission."""
        return [action for action, _ in self.bars]


def _drawn_span(action: DetectedAction) -> Span:
    """Return where a bar is, with the tick of the emission."""
    return action.start, max(action.end, action.emitted)


def choose_lane(span: Span, others: Iterable[tuple[Span, int]], num_lanes: int = LANES) -> int:
    """Return the first lane in which a span covers no other one, or that of the covered span that began first.

    Args:
        span: start and end in seconds.
        others: spans that have a lane, and the lane.
        num_lanes: lanes there are.

    Example:
        >>> choose_lane((2.0, 5.0), [((0.0, 1.0), 0), ((1.5, 3.0), 0)], num_lanes=2)
        1
    """
    taken = {lane: start for (start, end), lane in others if end > span[0] and start < span[1]}
    return next((lane for lane in range(num_lanes) if lane not in taken), min(taken, key=taken.__getitem__, default=0))


def color_of_class(label: str, classes: Sequence[str]) -> Color:
    """Return the RGB color of a class; those that are not listed share one."""
    return color_of(classes.index(label) if label in classes else len(classes))


def draw_actions(image: Frame, recent: RecentActions, now: float) -> Frame:
    """Return a frame with a timeline of the last seconds at its bottom, and captions of the latest actions.

    The timeline shows the probability that an action is going on as a curve, and each action as a bar with a white tick
    at its emission; its right edge is the present.

    Args:
        image: RGB frame (height, width, 3) of any size.
        recent: what to draw; call ``recent.update`` at every feature frame.
        now: time of this frame, in seconds.

    Example:
        >>> black = np.zeros((48, 64, 3), dtype=np.uint8)
        >>> recent = RecentActions(["jump"], seconds=10.0)
        >>> recent.update(Moment(3.0, flag=0.8, stored=1), [DetectedAction("jump", 0.9, 1.0, 2.5, emitted=3.0)])
        >>> drawn = draw_actions(black, recent, now=3.0)
        >>> drawn.shape, bool(drawn.any())
        ((48, 64, 3), True)
    """
    canvas = Image.fromarray(image)
    strip = _Strip(canvas, recent, now)
    strip.background()
    strip.curve()
    strip.bars()
    strip.present()
    _draw_captions(canvas, recent, now)
    return np.array(canvas)


class _Strip:
    """The timeline: bars above, the curve below, in proportion to the size of the image."""

    def __init__(self, canvas: Image.Image, recent: RecentActions, now: float) -> None:
        self.recent, self.now = recent, now
        self.width, self.bottom = canvas.size
        self.height = min(max(12, round(_SHARE * self.bottom)), self.bottom)
        self.top = self.bottom - self.height
        self.middle = self.top + round(0.58 * self.height)
        self.line = max(1, round(min(canvas.size) / 400))
        self.pen = ImageDraw.Draw(canvas, "RGBA")  # blends colors by their opacity

    def x(self, time: float) -> float:
        """Return the place of a time; never far outside of the image."""
        past = min(max((self.now - time) / self.recent.seconds, -0.1), 1.1)
        return (1 - past) * (self.width - 1)

    def background(self) -> None:
        """A dark plate with a faint line every five seconds."""
        self.pen.rectangle((0, self.top, self.width - 1, self.bottom - 1), fill=(12, 14, 18, 175))
        for seconds in range(5, int(self.recent.seconds) + 1, 5):
            place = self.x(self.now - seconds)
            self.pen.line((place, self.top, place, self.bottom), fill=(255, 255, 255, 40), width=self.line)

    def curve(self) -> None:
        """The flag probability, filled; the newest value lasts until the present."""
        moments = [moment for moment in self.recent.moments if moment.time <= self.now]
        if not moments:
            return
        low, span = self.bottom - 1, self.bottom - 1 - self.middle - self.line
        points = [(self.x(moment.time), low - moment.flag * span) for moment in moments]
        points.append((self.x(self.now), points[-1][1]))
        self.pen.polygon([(points[0][0], low), *points, (points[-1][0], low)], fill=(*_CURVE, 70))
        self.pen.line(points, fill=(*_CURVE, 255), width=self.line, joint="curve")

    def bars(self) -> None:
        """One bar for each action; its label is in it where there is room."""
        gap = max(1, self.line)
        pitch = (self.middle - self.top - gap) / LANES
        for action, lane in self.recent.bars:
            top = round(self.top + gap + lane * pitch)
            self._bar(action, top, max(top, round(top + pitch - gap) - 1))

    def _bar(self, action: DetectedAction, top: int, bottom: int) -> None:
        color = color_of_class(action.label, self.recent.classes)
        left, right = self.x(action.start), max(self.x(action.end), self.x(action.start) + 1)
        self.pen.rectangle((left, top, right, bottom), fill=(*color, round(255 * (0.4 + 0.6 * action.score))))
        tick, center = self.x(action.emitted), (top + bottom) / 2
        self.pen.line((right, center, tick, center), fill=(255, 255, 255, 150), width=self.line)
        self.pen.line((tick, top, tick, bottom), fill=(255, 255, 255, 255), width=self.line)
        self._label(action.label, max(left, 0.0), right, top, bottom)

    def _label(self, label: str, left: float, right: float, top: int, bottom: int) -> None:
        size = round(0.66 * (bottom - top + 1))
        if size < _READABLE:
            return
        font = ImageFont.load_default(size)
        if font.getlength(label) + 0.7 * size < right - left:
            place = (left + 0.35 * size, (top + bottom + 1) / 2)
            rim, black = max(1, size // 10), (0, 0, 0, 170)
            self.pen.text(place, label, fill="white", font=font, anchor="lm", stroke_width=rim, stroke_fill=black)

    def present(self) -> None:
        """A line at the right edge."""
        width = 2 * self.line
        corners = (self.width - width, self.top, self.width - 1, self.bottom - 1)
        self.pen.rectangle(corners, fill=(255, 80, 80, 255))


def _draw_captions(canvas: Image.Image, recent: RecentActions, now: float) -> None:
    """The latest actions with their scores, newest first, fainter with the time since their emission."""
    size = max(_READABLE, round(min(canvas.size) / 26))
    gap = max(2, round(size * 0.35))
    font, pen = ImageFont.load_default(size), ImageDraw.Draw(canvas, "RGBA")
    room = max(1, round(_CAPTION_SHARE * canvas.height) // (size + 2 * gap))
    top = gap
    for action in recent.actions[::-1][: min(room, CAPTIONS)]:
        opacity = 1 - 0.75 * min(max((now - action.emitted) / recent.seconds, 0), 1)
        texts = f"{action.label}  {action.score:.2f}", action.label
        text = next((text for text in texts if font.getlength(text) + 4 * gap <= canvas.width), action.label)
        place = (gap, top, round(font.getlength(text)) + 2 * gap, size + gap)
        draw_plate(pen, place, text, font, color_of_class(action.label, recent.classes), opacity)
        top += size + 2 * gap
