"""What `evaluate` prints."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from mnemic_ask.scoring import KS

_ROWS = {"": "memory", "_no_memory": "no memory", "_text_only": "texts alone", "_oracle": "the right items"}
_SCORES = {"em": "EM", "f1": "F1", "accuracy": "accuracy", "entity_em": "entity EM", "hypernym_em": "hypernym EM"}
_RANKINGS = {
    **{f"recall_at_{k}": f"R@{k}" for k in KS},
    **{f"hit_at_{k}": f"hit@{k}" for k in KS},
    "mrr": "MRR",
    "ndcg_at_10": "nDCG@10",
}
_POOLS = {"evidence_": "items that answer", "": "pictures by caption", "all": "the same, among all pictures"}


def show_scores(summary: Mapping[str, Any]) -> None:
    """Print the scores as tables."""
    console = Console()
    console.print(f"{summary['questions']} questions, {summary['items']} items in memory", highlight=False)
    names = [name for name in _SCORES if name in summary]
    answers = Table("answers from", *(_SCORES[name] for name in names), box=None)
    for suffix, label in _ROWS.items():
        answers.add_row(label, *(_percent(summary.get(f"{name}{suffix}")) for name in names))
    console.print(answers)
    rankings = Table("ranking of", *_RANKINGS.values(), box=None)
    for kind, label in _POOLS.items():
        keys = [f"{name}_all_pictures" if kind == "all" else f"{kind}{name}" for name in _RANKINGS]
        if any(key in summary for key in keys):
            rankings.add_row(label, *(_percent(summary.get(key)) for key in keys))
    console.print(rankings)
    if "citation_f1" in summary:
        cited = (_percent(summary[f"citation_{name}"]) for name in ("precision", "recall", "f1"))
        console.print("citations: precision {}, recall {}, F1 {}".format(*cited), highlight=False)
    if "latency_ms" in summary:
        times = Table("ms a question", *summary["latency_ms"]["p50"], box=None)
        for share, values in summary["latency_ms"].items():
            times.add_row(share, *(f"{value:.1f}" for value in values.values()))
        console.print(times)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
