"""Plots of accuracy against length, and of the cost of memories along a stream."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mnemic_core.errors import UserError
from mnemic_kit.experiment import Metric, summarize
from mnemic_kit.experiment.report import plot
from mnemic_kit.figures import COLORS, open_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve: TypeAlias = Mapping[int, float]  # accuracy, 0 to 1, by length

# After the last color, lines are dashed and start with the first color again.
_COLOURS = (*COLORS, "#000000")
_DASHES = ("-", "--", ":", "-.")


def accuracy_metric(chance: float, max_length: int | None) -> Metric:
    """Return how accuracies are shown.

    Args:
        chance: accuracy of guessing.
        max_length: longest training string; None if unknown.
    """
    trained = [f"length {length}" for length in range(1, (max_length or 0) + 1)]
    return Metric("accuracy (%)", scale=100.0, chance=chance, trained=trained)


def plot_accuracy(
    curves: Mapping[str, Sequence[Curve]], path: Path, *, title: str, chance: float, max_length: int | None
) -> None:
    """Draw accuracy against length, by machine a curve of each seed.

    A dashed line is the accuracy of guessing; training lengths are shaded. For the path see `open_figure`.

    Raises:
        UserError: if there is no curve.
    """
    metrics = {"accuracy": accuracy_metric(chance, max_length)}
    found = {
        machine: {
            seed: {title: {f"accuracy@length {length}": value for length, value in curve.items()}}
            for seed, curve in enumerate(seeds)
        }
        for machine, seeds in curves.items()
    }
    plot(summarize(found, metrics, next(iter(curves), "")), metrics, path, program="mnemic-algorithms")


def plot_costs(results: Mapping[str, Mapping[str, Any]], path: str | Path) -> None:
    """Draw time and peak memory per step along a stream, state size and recall distance of each memory.

    Args:
        results: mechanism -> result of `mnemic_algorithms.measure.measure`.
        path: image to write, see `open_figure`.

    Raises:
        UserError: if there are no results.
    """
    if not results:
        raise UserError("expected the results of at least one mechanism, got none")
    with open_figure(path, 10.0, 6.5, program="mnemic-algorithms") as figure:
        (time, peak), (size, recall) = figure.subplots(2, 2)
        for index, (name, result) in enumerate(results.items()):
            tokens = [point["tokens"] for point in result["stream"]]
            time.plot(tokens, [1e3 * point["seconds"] for point in result["stream"]], label=name, **_look(index))
            peak.plot(tokens, [point["peak_bytes"] / 1024 for point in result["stream"]], **_look(index))
        for axes, title, unit in ((time, "Time per step", "ms"), (peak, "Peak memory per step", "KiB")):
            axes.set(title=title, xlabel="tokens of the stream", ylabel=unit, yscale="log")
        _bars(size, {name: result["state_bytes_per_row"] / 1024 for name, result in results.items()})
        size.set(title="State per row", xlabel="KiB", xscale="symlog")  # some have no state
        _bars(recall, {name: result["recall_distance"] for name, result in results.items()})
        for place, result in enumerate(results.values()):
            if result["recall_reaches_start"]:
                recall.annotate(" or more", (result["recall_distance"], place), va="center", fontsize=7)
        recall.set(title="Recall distance", xlabel="tokens")
        recall.margins(x=0.2)  # space for the annotations
        figure.legend(*time.get_legend_handles_labels(), loc="outside right upper")


def _bars(axes: "Axes", values: Mapping[str, int | float]) -> None:
    axes.barh(list(values), list(values.values()), color=_COLOURS[0])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")


def _look(index: int) -> dict[str, Any]:
    return {"color": _COLOURS[index % len(_COLOURS)], "linestyle": _DASHES[index // len(_COLOURS) % len(_DASHES)]}
