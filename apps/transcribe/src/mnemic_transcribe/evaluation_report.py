"""The scores of an evaluation on the terminal and in files."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mnemic_kit.atomic_files import atomic_write
from mnemic_kit.cli import USER_ERROR
from mnemic_transcribe.evaluation import Evaluation


def write_scores(out: Path, summary: Mapping[str, Any], evaluation: Evaluation) -> None:
    """Write ``scores.json`` and ``transcripts.jsonl`` to a folder, which is made when absent."""
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(out / "transcripts.jsonl") as file:
        for each, seconds in zip(evaluation.heard, evaluation.seconds, strict=True):
            line = {"id": each.id, "text": each.reference, "pred_text": each.hypothesis, "duration": round(seconds, 3)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    with atomic_write(out / "scores.json") as file:
        file.write(_dumps(summary) + "\n")


def show_scores(summary: Mapping[str, Any], evaluation: Evaluation, *, as_json: bool) -> None:
    """Print the figures; exit with an error when utterances could not be read."""
    console = Console()
    table = Table(title=f"{summary['data']}, {summary['decoding']}, memory {summary['memory']}", title_justify="left")
    for heading in ("seconds", "utterances", "WER %", "95 % interval", "deletions %"):
        table.add_column(heading, justify="right")
    for name, part in summary["wer_by_duration"].items():
        table.add_row(name, *_cells(part))
    table.add_section()
    table.add_row("all", *_cells(summary), style="bold")
    console.print(table)
    sentences, factor = 100 * summary["sentence_error_rate"], summary["real_time_factor"]
    console.print(
        f"CER {100 * summary['cer']:.2f} %, utterances with an error {sentences:.1f} %, real-time factor {factor:.4f}",
        highlight=False,
    )
    if evaluation.report is not None and evaluation.report.capacity:
        console.print(f"memory after the last utterances\n{evaluation.report.as_table()}", highlight=False)
    sys.stderr.write("".join(f"left out: {problem}\n" for problem in evaluation.problems))
    if as_json:
        sys.stdout.write(_dumps(summary) + "\n")
    if evaluation.problems:
        sys.exit(USER_ERROR)


def _cells(figures: Mapping[str, Any]) -> list[str]:
    low, high = figures["wer_interval"]
    shares = f"{100 * figures['wer']:.2f}", f"{100 * low:.2f} to {100 * high:.2f}", f"{100 * figures['deletions']:.2f}"
    return [str(figures["num_utterances"]), *shares]


def _dumps(summary: Mapping[str, Any]) -> str:
    return json.dumps(summary, allow_nan=False, ensure_ascii=False)
