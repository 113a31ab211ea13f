"""Plot of bits per byte against context length and memory size."""

from collections.abc import Mapping
from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.figures import COLORS, open_figure


def plot_curves(curves: Mapping[str, Mapping[int, float]], marks: Mapping[str, float], path: Path) -> None:
    """Draw bits per byte against sizes, with one panel for each kind of size.

    Args:
        curves: label of the size, such as ``context (tokens)`` -> size -> bits per byte; empty ones are left out.
        marks: name -> bits per byte of conditions without a size, drawn as horizontal lines in every panel.
        path: image to write, see `open_figure`.

    Raises:
        UserError: if there is nothing to draw.
    """
    drawn = {name: curve for name, curve in curves.items() if curve}
    if not drawn:
        raise UserError("expected at least one curve with points, got none")
    with open_figure(path, width=max(5.0, 3.8 * len(drawn)), height=3.2, program="mnemic-lm") as figure:
        panels = figure.subplots(1, len(drawn), squeeze=False)[0]
        for axes, (name, curve) in zip(panels, drawn.items(), strict=True):
            sizes = sorted(curve)
            axes.plot(sizes, [curve[size] for size in sizes], marker="o", color=COLORS[0])
            for index, (mark, level) in enumerate(marks.items(), 1):
                axes.axhline(level, color=COLORS[index % len(COLORS)], linestyle="--", label=mark)
            axes.set_xscale("log", base=2)
            axes.set_xticks(sizes, [str(size) for size in sizes])
            axes.minorticks_off()  # their labels would overlap those of the sizes
            axes.set_xlabel(name)
            axes.set_ylabel("bits per byte")
        if marks:
            figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(marks))
