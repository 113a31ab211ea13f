"""``mnemic-transcribe evaluate``: score a recogniser on utterances with text."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mnemic_core.errors import UserError
from mnemic_kit.atomic_files import atomic_write
from mnemic_kit.cli import USER_ERROR
from mnemic_kit.devices import Device
from mnemic_kit.parse import call
from mnemic_speech.conformer_ntm.settings import Decoding
from mnemic_transcribe.checkpoints import SHIPPED
from mnemic_transcribe.evaluation import Evaluation, Segmentation, evaluate_clips, open_clips
from mnemic_transcribe.noise import Noise, NoiseKind
from mnemic_transcribe.progress import audio_progress
from mnemic_transcribe.transcribers import open_transcriber


def evaluate(
    data: Path,
    split: str | None = None,
    checkpoint: Path | None = None,
    decoding: Decoding | None = None,
    beam: int | None = None,
    segmentation: Segmentation = "auto",
    noise: NoiseKind | None = None,
    snr_db: float = 5.0,
    seed: int = 0,
    batch_size: int = 16,
    out: Path | None = None,
    json: bool = False,
    device: Device = "auto",
) -> None:
    """Recognise utterances and print word and character error rates, by duration and with 95 % intervals.

    Utterances that cannot be read are listed, the rest goes on, and the exit code is 2.

    Args:
        data: a jsonl manifest, or a folder: with index.tsv (columns path and text, optionally split), of LibriSpeech,
            TED-LIUM or Kaldi, or of digit strings (strings.tsv), which are rendered.
        split: a part of the data: a value of the column split, or a folder such as test-clean.
        checkpoint: weights to evaluate; the shipped ones by default.
        decoding: ctc, attention, joint or rescoring; by default as the checkpoint says.
        beam: hypotheses that a search keeps.
        segmentation: never recognises each utterance as a whole, always cuts it at its pauses, auto cuts those that
            are longer than the checkpoint's longest segment.
        noise: add white noise, or the babble of four other utterances.
        snr_db: energy of an utterance over that of the noise, in decibels.
        seed: of noise and rendering.
        batch_size: utterances that are recognised together.
        out: folder for scores.json and transcripts.jsonl.
        json: print one JSON object as the last line.
        device: where to run; auto takes a GPU where there is one.
    """
    if batch_size < 1:
        raise UserError(f"--batch_size must be at least 1, got {batch_size}")
    transcriber = open_transcriber(checkpoint, decoding=decoding, beam=beam, device=device)
    clips, problems = open_clips(data, split, transcriber.settings.text_style)
    added = None if noise is None else Noise(noise, snr_db)
    with audio_progress(str(data), sum(clip.seconds for clip in clips), Console(stderr=True)) as advance:
        evaluation = evaluate_clips(
            transcriber,
            clips,
            segmentation=segmentation,
            noise=added,
            seed=seed,
            batch_size=batch_size,
            advance=advance,
        )
    evaluation.problems[:0] = problems
    summary = evaluation.summary() | {
        "data": str(data),
        "split": split,
        "noise": None if added is None else str(added),
        "segmentation": segmentation,
        "decoding": transcriber.settings.decoding,
        "checkpoint": str(checkpoint or SHIPPED.name),
        "memory": transcriber.recognizer.model.config.memory,
        "num_unreadable": len(evaluation.problems),
    }
    if out is not None:
        _write(out, summary, evaluation)
    _show(summary, evaluation, as_json=json)


def _write(out: Path, summary: Mapping[str, Any], evaluation: Evaluation) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(out / "transcripts.jsonl") as file:
        for each, seconds in zip(evaluation.heard, evaluation.seconds, strict=True):
            line = {"id": each.id, "text": each.reference, "pred_text": each.hypothesis, "duration": round(seconds, 3)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    with atomic_write(out / "scores.json") as file:
        file.write(_dumps(summary) + "\n")


def _show(summary: Mapping[str, Any], evaluation: Evaluation, *, as_json: bool) -> None:
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
        print(_dumps(summary))
    if evaluation.problems:
        sys.exit(USER_ERROR)


def _cells(figures: Mapping[str, Any]) -> list[str]:
    low, high = figures["wer_interval"]
    shares = f"{100 * figures['wer']:.2f}", f"{100 * low:.2f} to {100 * high:.2f}", f"{100 * figures['deletions']:.2f}"
    return [str(figures["num_utterances"]), *shares]


def _dumps(summary: Mapping[str, Any]) -> str:
    return json.dumps(summary, allow_nan=False, ensure_ascii=False)


def main(program: str, arguments: list[str]) -> None:
    """Run the command line."""
    call(evaluate, program, arguments)
