"""The scores of an evaluation as tables."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from mnemic_core.markdown import markdown_table
from mnemic_vision.matr.metrics.scores import LocalizationScores


def scores_tables(scores: LocalizationScores) -> str:
    """Return Markdown tables of the average precision by class, of delay and of durations, and the counts.

    Average precisions and shares are in percent, times in seconds; columns are tIoU thresholds and their mean.
    """
    columns = [*(f"{threshold:g}" for threshold in scores.thresholds), "mean"]
    tables = [
        markdown_table(["class", "actions", *columns], _class_rows(scores)),
        markdown_table(["delay", *columns], _delay_rows(scores)),
        markdown_table(["duration", "seconds", "actions", *columns], _duration_rows(scores)),
    ]
    counts = ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in asdict(scores.counts).items() if number)
    return "\n\n".join([*tables, f"Counts: {counts}."])


def _class_rows(scores: LocalizationScores) -> list[list[str]]:
    rows = [[label, str(scores.truths[label]), *_percent(values)] for label, values in scores.ap.items()]
    return [*rows, ["all", str(scores.counts.truths), *_percent(scores.mean_ap)]]


def _delay_rows(scores: LocalizationScores) -> list[list[str]]:
    mean = np.nan if scores.mean_delay_s is None else scores.mean_delay_s
    delays = ["-" if np.isnan(delay) else f"{delay:.2f}" for delay in (*scores.mean_delay, mean)]
    return [
        ["mean delay, s", *delays],
        *([f"recall within {limit:g} s", *_percent(values)] for limit, values in scores.recall_within.items()),
        *([f"precision within {limit:g} s", *_percent(values)] for limit, values in scores.precision_within.items()),
    ]


def _duration_rows(scores: LocalizationScores) -> list[list[str]]:
    return [
        [each.name, f"{each.shortest:.1f} - {each.longest:.1f}", str(each.truths), *_percent(each.mean_ap)]
        for each in scores.durations
    ]


def _percent(values: Sequence[float]) -> list[str]:
    return [f"{100 * value:.1f}" for value in (*values, float(np.mean(values)))]
