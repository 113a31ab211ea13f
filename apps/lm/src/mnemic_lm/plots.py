"""Figures: bits per byte against context and memory, and how memories compare.

Matplotlib (``pip install mnemic-lm[plots]``) is imported when a figure is drawn; no display is needed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.figures import COLOURS, open_figure


def plot_curves(curves: Mapping[str, Mapping[int, float]], marks: Mapping[str, float], path: Path) -> None:
    """Draw bits per byte against sizes, a panel for each kind of size.

    Args:
        curves: what the size is of, such as ``context (tokens)`` -> size -> bits per byte; empty ones are left out.
        marks: name -> bits per byte of what has no size, drawn as a level in every panel.
        path: the picture to write (.png, .svg or .pdf); its folder must exist.

    Raises:
        UserError: if there is nothing to draw or the file has another ending.
        UserError: if matplotlib is not installed.
    """
    drawn = {name: curve for name, curve in curves.items() if curve}
    if not drawn:
        raise UserError("expected at least one curve with points, got none")
    with open_figure(path, width=max(5.0, 3.8 * len(drawn)), height=3.2, program="mnemic-lm") as figure:
        panels = figure.subplots(1, len(drawn), squeeze=False)[0]
        for axes, (name, curve) in zip(panels, drawn.items(), strict=True):
            sizes = sorted(curve)
            axes.plot(sizes, [curve[size] for size in sizes], marker="o", color=COLOURS[0])
            for index, (mark, level) in enumerate(marks.items(), 1):
                axes.axhline(level, color=COLOURS[index % len(COLOURS)], linestyle="--", label=mark)
            axes.set_xscale("log", base=2)
            axes.set_xticks(sizes, [str(size) for size in sizes])
            axes.minorticks_off()
            axes.set_xlabel(name)
            axes.set_ylabel("bits per byte")
        if marks:
            figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(marks))


def plot_comparison(table: Mapping[str, Sequence[Mapping[str, float]]], path: Path) -> None:
    """Compare memories: how many bits per byte with the memory, without it and with that of another text.

    Args:
        table: name of the memory -> ``bits_per_byte``, ``off`` and ``shuffled`` of each seed.
        path: the picture to write (.png, .svg or .pdf); its folder must exist.

    Raises:
        UserError: if a memory has no scores or the file has another ending.
        UserError: if matplotlib is not installed.
    """
    if not table or not all(table.values()):
        raise UserError(f"expected the scores of at least one seed for each memory, got {sorted(table)}")
    looks = {"bits_per_byte": ("memory", "o"), "off": ("memory off", "x"), "shuffled": ("memory of another text", "+")}
    with open_figure(path, width=6.5, height=0.9 + 0.4 * len(table), program="mnemic-lm") as figure:
        axes = figure.subplots()
        for index, (score, (label, marker)) in enumerate(looks.items()):
            points = [(run[score], row) for row, runs in enumerate(table.values()) for run in runs]
            values, rows = zip(*points, strict=True)
            axes.scatter(values, rows, marker=marker, color=COLOURS[index], label=label, zorder=3)
        axes.set_yticks(range(len(table)), list(table))
        axes.set_ylim(len(table) - 0.5, -0.5)
        axes.set_xlabel("bits per byte, lower is better")
        figure.legend(loc="outside upper center", ncols=len(looks))
