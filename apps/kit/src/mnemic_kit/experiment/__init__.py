"""Comparisons of variants over seeds: runs that are kept, paired differences, Markdown, JSON and a figure."""

from mnemic_kit.experiment.comparison import Comparison
from mnemic_kit.experiment.conditions import keep_condition, read_conditions
from mnemic_kit.experiment.run import STAGE, Run, Scores, Variant
from mnemic_kit.experiment.summary import Cell, Difference, Metric, Paired, Share, over_seeds, summarize

__all__ = [
    "STAGE",
    "Cell",
    "Comparison",
    "Difference",
    "Metric",
    "Paired",
    "Run",
    "Scores",
    "Share",
    "Variant",
    "keep_condition",
    "over_seeds",
    "read_conditions",
    "summarize",
]
