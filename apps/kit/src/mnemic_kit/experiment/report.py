"""A comparison as Markdown and as a figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mnemic_core.errors import UserError
from mnemic_core.markdown import markdown_table
from mnemic_kit.experiment.summary import POINT, Cell, Difference, Metric, Table, find_metric
from mnemic_kit.figures import COLORS, open_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Mapping[str, Mapping[str, Cell]]


def markdown(table: Table, metrics: Mapping[str, Metric], baseline: str, notes: Mapping[str, str] | None = None) -> str:
    """Return a table for each condition: means over the seeds, and of the first metric each seed and the difference.

    The notes by variant become footnotes; all else is as for `summarize`.
    """
    notes = {variant: note for variant, note in (notes or {}).items() if note}
    parts = []
    for condition, rows in table.items():
        heading = [f"## {condition}"] if len(table) > 1 else []
        footnotes = [f"(*) {note}" for note in dict.fromkeys(notes[name] for name in rows if name in notes)]
        parts.append("\n\n".join([*heading, _table(rows, metrics, baseline, notes), *footnotes]))
    return "\n\n".join(parts)


def _table(rows: Rows, metrics: Mapping[str, Metric], baseline: str, notes: Mapping[str, str]) -> str:
    names = list(dict.fromkeys(name for cells in rows.values() for name in cells))
    main, metric = names[0], find_metric(metrics, names[0])
    head = ["variant", *(_label(metrics, name) for name in names)]
    head += [f"{metric.label} of each seed", f"minus {baseline} (95 % interval)"]
    lines = []
    for variant, cells in rows.items():
        means = [_means(cells.get(name), find_metric(metrics, name)) for name in names]
        singles = ", ".join(map(metric.show, cells[main].of_seeds.values()))
        name = f"{variant} (*)" if variant in notes else variant
        lines.append([name, *means, singles, _difference(cells[main].difference, metric)])
    return markdown_table(head, lines)


def _label(metrics: Mapping[str, Metric], name: str) -> str:
    point = name.partition(POINT)[2]
    label = find_metric(metrics, name).label
    return f"{label}, {point}" if point else label


def _means(cell: Cell | None, metric: Metric) -> str:
    return metric.show_all(list(cell.of_seeds.values())) if cell else ""


def _difference(found: Difference | None, metric: Metric) -> str:
    if found is None:
        return ""
    mean = metric.show(found.mean, "+")
    if found.low is None or found.high is None:
        return f"{mean} (one seed)"
    return f"{mean} ({metric.show(found.low, '+')} to {metric.show(found.high, '+')})"


def plot(table: Table, metrics: Mapping[str, Metric], path: Path, *, program: str) -> None:
    """Draw a row of panels for each condition: every metric with its seeds and means, and curves over their points.

    Facts are left out. For path and program see `open_figure`.

    Raises:
        UserError: if there is nothing to draw.
    """
    used = {name for rows in table.values() for cells in rows.values() for name in cells}
    drawn = [name for name, metric in metrics.items() if metric.better and name in used]
    curves = [name for name in metrics if any(each.startswith(name + POINT) for each in used)]
    if not drawn + curves:
        raise UserError(f"expected the scores of at least one seed for each variant, got none in {sorted(table)}")
    num_variants = max(map(len, table.values()))
    width, height = 1.4 + 2.1 * len(drawn) + 3.6 * len(curves), 0.9 + 0.28 * num_variants
    ratios = [1.0] * len(drawn) + [1.8] * len(curves)
    with open_figure(path, width, max(height, 2.4 if curves else 0) * len(table), program=program) as figure:
        panels = figure.subplots(len(table), len(ratios), squeeze=False, width_ratios=ratios)
        for axes, (condition, rows) in zip(panels, table.items(), strict=True):
            for panel, name in zip(axes, drawn, strict=False):
                _draw_seeds(panel, rows, name, metrics[name])
            for panel, name in zip(axes[len(drawn) :], curves, strict=True):
                _draw_curves(panel, rows, name, metrics[name])
            for panel in axes[1 : len(drawn)]:
                panel.tick_params(labelleft=False)
            axes[0].set_title(condition)


def _draw_seeds(axes: "Axes", rows: Rows, name: str, metric: Metric) -> None:
    for place, cells in enumerate(rows.values()):
        if name in cells:
            color, cell = COLORS[place % len(COLORS)], cells[name]
            values = [metric.scale * value for value in cell.of_seeds.values()]
            axes.scatter(values, [place] * len(values), color=color, s=14, zorder=3)
            axes.scatter(metric.scale * cell.mean, place, color=color, marker="|", s=160, zorder=2)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(f"{metric.label}, {metric.better} is better")


def _draw_curves(axes: "Axes", rows: Rows, name: str, metric: Metric) -> None:
    points = dict.fromkeys(each for cells in rows.values() for each in cells if each.startswith(name + POINT))
    for place, (variant, cells) in enumerate(rows.items()):
        known = [(point.partition(POINT)[2], metric.scale * cells[point].mean) for point in points if point in cells]
        if known:
            labels, values = zip(*known, strict=True)
            dashes = ("-", "--", ":", "-.")[place // len(COLORS) % 4]
            color = COLORS[place % len(COLORS)]
            axes.plot(labels, values, dashes, marker="o", label=variant, color=color)
    covered = [place for place, point in enumerate(points) if point.partition(POINT)[2] in metric.trained]
    if covered:  # labels are at 0, 1, 2 ...
        axes.axvspan(-0.5, max(covered) + 0.5, color="#F0F0F0", zorder=0, label="trained")
    if metric.chance is not None:
        axes.axhline(metric.scale * metric.chance, color="#808080", linestyle="--", linewidth=1, label="chance")
    axes.set_ylabel(metric.label)
    axes.legend(loc="best", fontsize=7, frameon=bool(covered))  # a frame sets the shade off
