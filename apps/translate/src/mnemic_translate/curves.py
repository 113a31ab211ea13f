"""Quality against latency for several k: measured points, their table and plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from mnemic_kit.figures import COLORS, open_figure
from mnemic_kit.record import Record
from mnemic_speech.data.batching import Clip
from mnemic_speech.simultaneous import Translator
from mnemic_translate.evaluation import evaluate_with_progress
from mnemic_translate.evaluation_report import write_instances

_PROBLEMS = "problems"  # name in the file of a point
_MARKERS = "os^Dv<>P"


def measure_point(translator: Translator, clips: Sequence[Clip], record: Record) -> tuple[Mapping[str, Any], list[str]]:
    """Return the scores of a translator and the problems of single utterances, kept from an earlier call or measured.

    The translations are written beside the record as a log.
    """
    point = record.read()
    if point is None:
        evaluation = evaluate_with_progress(translator, clips, record.path.stem, Console(stderr=True))
        write_instances(record.path.with_suffix(".log"), evaluation.records)
        point = {**evaluation.summary(), _PROBLEMS: evaluation.problems}
        record.write(point)
    scores = {name: value for name, value in point.items() if name not in {"settings", _PROBLEMS}}
    return scores, point.get(_PROBLEMS, [])


def as_table(points: Sequence[Mapping[str, Any]]) -> str:
    """Return the points as a table in Markdown."""
    head = "| checkpoint | shift | k | BLEU | 95 % interval | LAAL, ms | AL, ms | DAL, ms | LAAL with computing, ms |"
    rows = [head, "|" + "---|" * 9]
    for point in points:
        low, high = point["bleu_interval"]
        latency = [_number(point.get(name)) for name in ("laal_ms", "al_ms", "dal_ms", "laal_ms_ca")]
        cells = [point["checkpoint"], point["shift"], point["k"], f"{point['bleu']:.2f}", f"{low:.2f} to {high:.2f}"]
        rows.append(f"| {' | '.join(map(str, [*cells, *latency]))} |")
    return "\n".join(rows)


def plot_curves(points: Sequence[Mapping[str, Any]], path: Path, *, program: str) -> None:
    """Write a plot of BLEU against the length-adaptive lagging, one line for each checkpoint and shift."""
    lines: dict[str, list[Mapping[str, Any]]] = {}
    several = len({point["checkpoint"] for point in points}) > 1
    for point in points:
        name = f"{point['checkpoint']}, shift {point['shift']}" if several else f"shift {point['shift']}"
        lines.setdefault(name, []).append(point)
    with open_figure(path, 6.4, 4.0, program=program) as figure:
        axes = figure.add_subplot()
        for number, (name, line) in enumerate(lines.items()):
            known = [point for point in line if point["laal_ms"] is not None]
            times, scores = ([point[key] for point in known] for key in ("laal_ms", "bleu"))
            axes.plot(times, scores, color=COLORS[number % len(COLORS)], marker=_MARKERS[number % 8], label=name)
            for point in known if number == 0 else ():
                place = (point["laal_ms"], point["bleu"])
                axes.annotate(f"k={point['k']}", place, textcoords="offset points", xytext=(4, -11))
        axes.set(xlabel="length-adaptive average lagging, ms", ylabel="BLEU", title="Quality against latency")
        axes.legend()


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
