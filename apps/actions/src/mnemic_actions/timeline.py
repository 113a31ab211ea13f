"""Picture of a stream: annotated and detected actions, flag probability and memory over time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mnemic_kit.figures import COLORS, open_figure
from mnemic_vision.draw_actions import Span, choose_lane, color_of_class
from mnemic_vision.matr.actions import Action, DetectedAction
from mnemic_vision.matr.history import Moment

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Color: TypeAlias = tuple[float, float, float, float]

_ROW = 0.34  # inches
_PANEL = 0.95
_MOST_LANES = 3
_LEAST_SHARE = 1 / 900  # of the width, so that a short action of a long stream is seen
_STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)  # seconds between labels of the time


@dataclass(frozen=True)
class Timeline:
    """What to draw.

    Attributes:
        duration: of the stream, seconds.
        detected: actions that were emitted.
        truth: annotated actions; None without annotation.
        classes: names of all classes; the place of a class decides on its color and on the order of the rows.
        history: moments of the stream, see `History`; empty leaves their panels out.
        stored: what the ``stored`` of a moment is.
        flag_threshold: a window with a higher flag probability is stored.
        title: above the picture.
    """

    duration: float
    detected: Sequence[DetectedAction]
    truth: Sequence[Action] | None
    classes: Sequence[str]
    history: Sequence[Moment] = ()
    stored: str = "stored windows"
    flag_threshold: float = 0.5
    title: str = ""

    @property
    def rows(self) -> list[str]:
        """The classes that occur, in their order."""
        seen = {action.label for action in self.detected} | {action.label for action in self.truth or ()}
        return [*(name for name in self.classes if name in seen), *sorted(seen.difference(self.classes))]


def draw_timeline(path: str | Path, timeline: Timeline) -> None:
    """Draw a stream over time; a short stream gives a narrow picture, an hour a wide one.

    Args:
        path: picture to write, see `open_figure`.
        timeline: the stream.

    Raises:
        UserError: see `open_figure`.
    """
    rows, has_history = timeline.rows, bool(timeline.history)
    heights = [0.55 + _ROW * max(len(rows), 1), *([_PANEL, _PANEL] if has_history else [])]
    width = 8.0 + 4 * min(max(math.log10(max(timeline.duration, 1) / 60), 0), 2)
    with open_figure(path, width, 0.9 + sum(heights), program="mnemic-actions") as figure:
        grid = {"height_ratios": heights}
        axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw=grid)[:, 0]
        _draw_actions(axes[0], timeline, rows)
        if has_history:
            _draw_flag(axes[1], timeline)
            _draw_memory(axes[2], timeline)
        _label_time(axes[-1], timeline.duration)
        figure.align_ylabels()


def _draw_actions(axes: "Axes", timeline: Timeline, rows: Sequence[str]) -> None:
    """A row per class, annotated actions above detected ones."""
    for row, name in enumerate(rows):
        _draw_row(axes, timeline, name, row)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_title(timeline.title)
    if not rows:
        axes.text(0.5, 0.5, "no actions", transform=axes.transAxes, ha="center", va="center", color="#808080")
    _explain(axes, has_truth=timeline.truth is not None)


def _draw_row(axes: "Axes", timeline: Timeline, name: str, row: int) -> None:
    least = timeline.duration * _LEAST_SHARE
    red, green, blue = (channel / 255 for channel in color_of_class(name, timeline.classes))
    truth = [action for action in timeline.truth or () if action.label == name]
    _draw_bars(axes, truth, row - 0.24, 0.26, [(red, green, blue, 1.0)] * len(truth), least)
    top, height = (row - 0.08, 0.40) if timeline.truth is not None else (row - 0.28, 0.56)
    lanes = _split_lanes([action for action in timeline.detected if action.label == name])
    bar = height if len(lanes) == 1 else 0.88 * height / max(len(lanes), 1)  # with a gap between lanes
    for index, lane in enumerate(lanes):
        center = top + (index + 0.5) * height / len(lanes)
        shades = [(red, green, blue, 0.25 + 0.75 * action.score) for action in lane]
        _draw_bars(axes, lane, center, bar, shades, least)
        _draw_emissions(axes, lane, center, bar)


def _split_lanes(detected: Sequence[DetectedAction]) -> list[list[DetectedAction]]:
    """Return the actions of a class in as few lanes as their overlaps allow, three at most."""
    placed: list[tuple[Span, int]] = []
    for action in detected:
        span = (action.start, action.end)
        placed.append((span, choose_lane(span, placed, _MOST_LANES)))
    lanes = [lane for _, lane in placed]
    return [
        [action for action, own in zip(detected, lanes, strict=True) if own == lane]
        for lane in range(max(lanes, default=-1) + 1)
    ]


def _draw_bars(
    axes: "Axes",
    actions: Sequence[Action | DetectedAction],
    center: float,
    height: float,
    colors: Sequence[Color],
    least: float,
) -> None:
    starts = [max(action.start, 0) for action in actions]
    widths = [max(action.end - start, least) for action, start in zip(actions, starts, strict=True)]
    axes.barh([center] * len(starts), widths, height, starts, color=colors, linewidth=0)


def _draw_emissions(axes: "Axes", detected: Sequence[DetectedAction], center: float, height: float) -> None:
    """A tick at the time of emission, joined to the end of its action; the upper half of a short action stays free."""
    if detected:
        emitted, ends = [action.emitted for action in detected], [action.end for action in detected]
        axes.vlines(emitted, center, center + height / 2 + 0.06, color="#202020", linewidth=1)
        axes.hlines([center] * len(ends), ends, emitted, color="#202020", linewidth=0.8)


def _explain(axes: "Axes", has_truth: bool) -> None:
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    gray = tuple(Patch(color=(0.35, 0.35, 0.35, alpha), linewidth=0) for alpha in (0.4, 1.0))
    entries = [
        *([(gray[1], "annotated (upper bar)")] if has_truth else []),
        (gray, "detected, darker with the score"),
        (Line2D([], [], color="#202020", marker="|", markersize=8, linestyle=""), "emitted"),
    ]
    handles, labels = zip(*entries, strict=True)
    axes.legend(
        handles,
        labels,
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=3,
        borderaxespad=0.2,
    )


def _draw_flag(axes: "Axes", timeline: Timeline) -> None:
    times, flags = zip(*((moment.time, moment.flag) for moment in timeline.history), strict=True)
    axes.fill_between(times, flags, color=COLORS[0], alpha=0.2, linewidth=0)
    axes.plot(times, flags, color=COLORS[0], linewidth=1 if timeline.duration < 600 else 0.6)
    axes.axhline(timeline.flag_threshold, color="#808080", linestyle="--", linewidth=0.8)
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("action\nprobability")


def _draw_memory(axes: "Axes", timeline: Timeline) -> None:
    from matplotlib.ticker import MaxNLocator

    times, stored = zip(*((moment.time, moment.stored) for moment in timeline.history), strict=True)
    axes.fill_between(times, stored, step="post", color=COLORS[2], alpha=0.2, linewidth=0)
    axes.step(times, stored, where="post", color=COLORS[2], linewidth=1.2)
    axes.set_ylim(0, 1.1 * max(1, *stored))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set_ylabel(timeline.stored.replace(" ", "\n", 1))


def _label_time(axes: "Axes", duration: float) -> None:
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    step = next((step for step in _STEPS if duration / step <= 12), _STEPS[-1])
    axes.set_xlim(0, max(duration, 1e-3))
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(float(seconds), duration)))
    axes.set_xlabel("seconds" if duration <= 120 else "time")


def clock(seconds: float, duration: float) -> str:
    """Return a time of a stream as short as its length allows: seconds, m:ss or h:mm:ss.

    Example:
        >>> clock(75.0, duration=100.0), clock(75.0, duration=600.0), clock(75.0, duration=3601.0)
        ('75', '1:15', '0:01:15')
    """
    if duration <= 120:
        return f"{seconds:g}"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if duration <= 3600 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
