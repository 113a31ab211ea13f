"""Plot of how a tracker used its memory over a video."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mnemic_core.errors import UserError
from mnemic_kit.figures import COLORS, open_figure, varies

if TYPE_CHECKING:
    from matplotlib.axes import Axes

History: TypeAlias = Sequence[Mapping[str, float | int | None]]  # one mapping a frame, from name to number


@dataclass(frozen=True)
class _Panel:
    title: str
    unit: str
    lines: dict[str, str]  # key in the history -> name in the legend
    top: float | None = None  # upper end of the axis where the unit has one
    is_count: bool = False  # drawn also where nothing changes


_MEMORY_PANELS = (
    _Panel(
        "Memory in use",
        "count",
        {"written": "slots written", "tracks": "tracks alive", "capacity": "capacity"},
        is_count=True,
    ),
    _Panel(
        "Attention on memory",
        "share, 0 to 1",
        {"memory_mass": "attention mass on memory", "read_entropy": "entropy of the read weights"},
        top=1.0,
    ),
    _Panel("Slot diversity", "cosine distance", {"diversity": "mean of all pairs of slots"}),
    _Panel("Age of the slots", "writes", {"age_mean": "mean", "age_max": "oldest"}, is_count=True),
)


def plot_memory(history: History, path: str | Path) -> None:
    """Draw how a memory was used over the frames of a video.

    Args:
        history: for each frame the numbers of ``MemoryReport.as_dict()``, and optionally ``frame`` (its index; counted
            from 0 otherwise) and ``tracks`` (objects alive). A number that is None or absent leaves a gap, and a panel
            without any number is left out, as are shares and distances that stay the same.
        path: image to write, see `open_figure`.

    Raises:
        UserError: the history holds no number to draw.
    """
    frames = [index if (frame := entry.get("frame")) is None else frame for index, entry in enumerate(history)]
    panels = [
        panel
        for panel in _MEMORY_PANELS
        if any(_has_numbers(history, name) and (panel.is_count or varies(history, name)) for name in panel.lines)
    ]
    if not panels:
        raise UserError(f"the memory history of {len(history)} frames holds no number to draw")
    with open_figure(path, width=7.5, height=0.9 + 1.5 * len(panels), program="mnemic-track") as figure:
        all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, panel in zip(all_axes, panels, strict=True):
            _draw_panel(axes, panel, frames, history)
        all_axes[-1].set_xlabel("frame")
        figure.align_ylabels()


def _has_numbers(history: History, name: str) -> bool:
    return any(entry.get(name) is not None for entry in history)


def _draw_panel(axes: "Axes", panel: _Panel, frames: Sequence[float | int], history: History) -> None:
    for index, (name, label) in enumerate(panel.lines.items()):
        if _has_numbers(history, name):
            # NaN leaves a gap in the line.
            numbers = [math.nan if (value := entry.get(name)) is None else value for entry in history]
            color, dashes = ("#808080", "--") if name == "capacity" else (COLORS[index], "-")
            width = 2.4 - 0.6 * index  # a line that is covered by the next shows on both sides of it
            axes.plot(frames, numbers, label=label, color=color, linestyle=dashes, linewidth=width)
    axes.set_title(panel.title)
    axes.set_ylabel(panel.unit)
    axes.set_ylim(bottom=0, top=panel.top and 1.05 * panel.top)
    axes.margins(x=0.01)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=3, borderaxespad=0.2)
