"""What `evaluate` prints and writes."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mnemic_kit.atomic_files import atomic_write
from mnemic_kit.cli import USER_ERROR
from mnemic_kit.output import show_json
from mnemic_speech.simultaneous import TranslationRecord

_LATENCIES = {"al": "AL", "laal": "LAAL", "dal": "DAL", "atd": "ATD"}


def show_scores(summary: Mapping[str, Any], problems: Sequence[str], *, as_json: bool) -> None:
    """Print the scores, list the problems, and end with the exit code of a mistake if there were any."""
    console = Console()
    low, high = summary["bleu_interval"]
    console.print(
        f"BLEU {summary['bleu']:.2f} (95 % interval {low:.2f} to {high:.2f})   chrF {summary['chrf']:.2f}",
        highlight=False,
    )
    table = Table("latency", "ms", "with computing, ms", box=None)
    for name, label in _LATENCIES.items():
        table.add_row(label, *(_number(summary.get(f"{name}_ms{suffix}"), 0) for suffix in ("", "_ca")))
    table.add_row("AP (share)", *(_number(summary.get(f"ap{suffix}"), 3) for suffix in ("", "_ca")))
    console.print(table)
    facts = (
        f"{summary['num_utterances']} utterances of {summary['audio_seconds']:.0f} s, real-time factor "
        f"{summary['real_time_factor']:.3f}, {summary['early_share']:.0%} of the words before the source ended"
    )
    console.print(facts, highlight=False, soft_wrap=True)
    if not summary["early_share"]:
        console.print("no word was written before its source ended: this is not simultaneous", soft_wrap=True)
    if summary["num_empty"]:
        console.print(f"{summary['num_empty']} utterances without any word, which have no latency", highlight=False)
    sys.stdout.flush()
    sys.stderr.write("".join(f"left out: {problem}\n" for problem in problems))
    if as_json:
        show_json(summary)
    if problems:
        sys.exit(USER_ERROR)


def write_instances(path: Path, records: Sequence[TranslationRecord]) -> None:
    """Write the translations with their times, one JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.writelines(f"{record.as_line()}\n" for record in records)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
