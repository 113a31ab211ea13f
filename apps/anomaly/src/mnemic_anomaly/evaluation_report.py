"""The figures of an evaluation as a table, as JSON and as a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from mnemic_anomaly.evaluation import Evaluation
from mnemic_anomaly.page import make_page
from mnemic_core.markdown import markdown_table
from mnemic_kit.atomic_files import writing_together
from mnemic_kit.figures import COLORS, can_plot, open_figure
from mnemic_kit.output import show, write_json, write_text
from mnemic_vision.memmc_mae import Calibration, ScoredImages, evaluate_anomalies

_SHOWN = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "f1_max": "best F1",
    "pixel_auroc": "pixel AUROC",
    "aupro": "AUPRO",
    "iou": "IoU",
}


Figures: TypeAlias = dict[str, Any]
"""Metrics and their intervals by name, and images per second."""


def describe(images: ScoredImages, seconds: float) -> Figures:
    """Return the figures of what was scored in some seconds."""
    speed = round(len(images.labels) / max(seconds, 1e-9), 2)
    return evaluate_anomalies(images).as_dict() | {"images_per_second": speed}


def summarize(rows: Mapping[str, Figures]) -> Figures:
    """Return the figures of the network by name, and those of the baselines under ``baselines``."""
    baselines = {name: figures for name, figures in rows.items() if name != "network"}
    return rows["network"] | ({"baselines": baselines} if baselines else {})


def show_scores(rows: Mapping[str, Figures], duplicates: Sequence[str]) -> None:
    """Print a table with a row for the network and for each baseline, and images that are in two parts."""
    present = [name for name in _SHOWN if any(row.get(name) is not None for row in rows.values())]
    header = ["", *(_SHOWN[name] for name in present), "images/s"]
    table = [
        [name, *(_cell(row, key) for key in present), f"{row['images_per_second']:.1f}"] for name, row in rows.items()
    ]
    show(markdown_table(header, table))
    for line in duplicates:
        show(f"in two parts: {line}")


def write_evaluation(out: Path, summary: Mapping[str, Any], result: Evaluation, known: Calibration | None) -> None:
    """Write ``scores.json``, the page and, where matplotlib is installed, ``histogram.png``."""
    out.mkdir(parents=True, exist_ok=True)
    notes = [f"checkpoint {summary['checkpoint']}, part {summary['split']}, lesions {summary['lesions']}"]
    if summary["auroc"] is not None:
        notes.append(f"AUROC {_cell(summary, 'auroc')}, average precision {_cell(summary, 'average_precision')}")
    threshold = None if known is None else known.image.threshold
    with writing_together():
        write_json(out / "scores.json", summary)
        if can_plot():
            _draw_histogram(out / "histogram.png", result.scored(), threshold)
        write_text(out / "index.html", make_page(f"Anomalies in {summary['data']}", notes, result.entries, threshold))


def _draw_histogram(path: Path, images: ScoredImages, threshold: float | None) -> None:
    parts = [images.scores[images.labels == label] for label in (0, 1)]
    with open_figure(path, 5.0, 2.6, program="mnemic-anomaly") as figure:
        axes = figure.subplots()
        axes.hist(parts, bins=30, stacked=True, color=[COLORS[0], COLORS[4]], label=["normal", "anomalous"])
        if threshold is not None:
            axes.axvline(threshold, color="black", linestyle="--", label="threshold")
        axes.set(xlabel="score", ylabel="images")
        axes.legend()


def _cell(row: Mapping[str, Any], name: str) -> str:
    if row.get(name) is None:
        return "-"
    return f"{row[name]:.3f} ({row[f'{name}_low']:.3f} to {row[f'{name}_high']:.3f})"
