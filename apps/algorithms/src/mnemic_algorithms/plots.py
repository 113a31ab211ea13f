"""Figures: length against accuracy, and what memories cost over a stream.

Matplotlib (``pip install mnemic-algorithms[plots]``) is imported when a figure is drawn; no display is needed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mnemic_core.errors import UserError
from mnemic_kit.figures import COLOURS, open_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve: TypeAlias = Mapping[int, float]  # accuracy, 0 to 1, by length

# More lines than colours: the second round is dashed.
_COLOURS = (*COLOURS, "#000000")
_DASHES = ("-", "--", ":", "-.")


def plot_accuracy(
    curves: Mapping[str, Sequence[Curve]], path: str | Path, *, title: str, chance: float, max_length: int | None
) -> None:
    """Draw accuracy against length: the mean of the seeds as a line, each seed as a dot.

    Args:
        curves: name of a machine -> the curve of each seed.
        path: the picture to write (.png, .svg or .pdf); its folder must exist.
        title: heading.
        chance: accuracy of guessing.
        max_length: largest training length; lengths up to it are shaded.

    Raises:
        UserError: if a machine has no curve.
        UserError: if matplotlib is not installed.
    """
    if not curves or not all(curves.values()):
        raise UserError(f"expected a curve of at least one seed for each machine, got {sorted(curves)}")
    with open_figure(path, 6.5, 3.6, program="mnemic-algorithms") as figure:
        axes = figure.subplots()
        for index, (name, seeds) in enumerate(curves.items()):
            lengths = sorted(set.intersection(*(set(curve) for curve in seeds)))
            means = [100 * sum(curve[length] for curve in seeds) / len(seeds) for length in lengths]
            axes.plot(lengths, means, label=name, **_look(index))
            for curve in seeds if len(seeds) > 1 else ():
                axes.scatter(list(curve), [100 * value for value in curve.values()], s=9, color=_look(index)["color"])
        if max_length is not None:
            axes.axvspan(1, max_length, color="#F0F0F0", zorder=0, label="training lengths")
        axes.axhline(100 * chance, color="#808080", linestyle="--", linewidth=1, label="chance")
        axes.set(title=title, xlabel="length", ylabel="right outputs (%)", ylim=(0, 103))
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")


def plot_costs(results: Mapping[str, Mapping[str, Any]], path: str | Path) -> None:
    """Draw what each memory costs per step over a stream, how large its state is and how far back it recalls.

    Args:
        results: name of a mechanism -> what `mnemic_algorithms.measure.measure` returned.
        path: the picture to write (.png, .svg or .pdf); its folder must exist.

    Raises:
        UserError: if there are no results.
        UserError: if matplotlib is not installed.
    """
    if not results:
        raise UserError("expected the results of at least one mechanism, got none")
    with open_figure(path, 10.0, 6.5, program="mnemic-algorithms") as figure:
        (time, peak), (size, recall) = figure.subplots(2, 2)
        for index, (name, result) in enumerate(results.items()):
            tokens = [point["tokens"] for point in result["stream"]]
            time.plot(tokens, [1e3 * point["seconds"] for point in result["stream"]], label=name, **_look(index))
            peak.plot(tokens, [point["peak_bytes"] / 1024 for point in result["stream"]], **_look(index))
        for axes, title, unit in (
            (time, "Time per step", "ms"),
            (peak, "Peak memory per step", "KiB"),
        ):
            axes.set(title=title, xlabel="tokens of the stream so far", ylabel=unit, yscale="log")
        _bars(size, {name: result["state_bytes_per_row"] / 1024 for name, result in results.items()})
        size.set(title="State per row", xlabel="KiB", xscale="symlog")
        _bars(recall, {name: result["recall_distance"] for name, result in results.items()})
        for place, result in enumerate(results.values()):
            if result["recall_reaches_start"]:
                recall.annotate(" or more", (result["recall_distance"], place), va="center", fontsize=7)
        recall.set(title="Recall distance", xlabel="tokens")
        recall.margins(x=0.2)
        figure.legend(*time.get_legend_handles_labels(), loc="outside right upper")


def _bars(axes: "Axes", values: Mapping[str, int | float]) -> None:
    axes.barh(list(values), list(values.values()), color=_COLOURS[0])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")


def _look(index: int) -> dict[str, Any]:
    return {"color": _COLOURS[index % len(_COLOURS)], "linestyle": _DASHES[index // len(_COLOURS) % len(_DASHES)]}
