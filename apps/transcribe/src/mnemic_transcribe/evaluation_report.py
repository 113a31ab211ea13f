"""Output of the scores of an evaluation on the terminal."""

import sys
from collections.abc import Mapping
from typing import Any

from mnemic_core.markdown import markdown_table
from mnemic_kit.cli import USER_ERROR
from mnemic_kit.output import show, show_json
from mnemic_transcribe.evaluation import Evaluation


def show_scores(summary: Mapping[str, Any], evaluation: Evaluation, *, as_json: bool) -> None:
    """Print the scores; exit with an error if utterances could not be read."""
    parts = [[name, *_cells(part)] for name, part in summary["wer_by_duration"].items()]
    head = ["seconds", "utterances", "WER %", "95 % interval", "deletions %"]
    table = markdown_table(head, [*parts, ["all", *_cells(summary)]])
    show(f"{summary['data']}, {summary['decoding']}, memory {summary['memory']}\n\n{table}")
    sentences, factor = 100 * summary["sentence_error_rate"], summary["real_time_factor"]
    show(f"CER {100 * summary['cer']:.2f} %, utterances with an error {sentences:.1f} %, real-time factor {factor:.4f}")
    if evaluation.report is not None and evaluation.report.capacity:
        show(f"memory after the last utterances\n{evaluation.report.as_table()}")
    sys.stderr.write("".join(f"left out: {problem}\n" for problem in evaluation.problems))
    if as_json:
        show_json(summary)
    if evaluation.problems:  # after all output: scores of the readable part are still wanted
        sys.exit(USER_ERROR)


def _cells(figures: Mapping[str, Any]) -> list[str]:
    low, high = figures["wer_interval"]
    shares = f"{100 * figures['wer']:.2f}", f"{100 * low:.2f} to {100 * high:.2f}", f"{100 * figures['deletions']:.2f}"
    return [str(figures["num_utterances"]), *shares]
