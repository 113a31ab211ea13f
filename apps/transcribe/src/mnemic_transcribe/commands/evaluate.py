"""``mnemic-transcribe evaluate``: score a recognizer on transcribed utterances."""

from pathlib import Path
from typing import Any

from mnemic_core.errors import UserError
from mnemic_kit.devices import Device
from mnemic_kit.made_files import check_outputs
from mnemic_speech.conformer_ntm.decoding import Decoding
from mnemic_transcribe.options import NoiseKind, Segmentation


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
    """Print word and character error rates on utterances, by duration and with 95 % intervals.

    Unreadable utterances are listed and skipped; the exit code is then 2.

    Args:
        data: a jsonl manifest, or a folder: with index.tsv (columns path and text, optionally split), of LibriSpeech,
            TED-LIUM or Kaldi, or of digit strings (strings.tsv), which are rendered.
        split: part of the data: a value of the column split, or a folder such as test-clean.
        checkpoint: weights; default: the shipped ones.
        decoding: ctc, attention, joint or rescoring; default: that of the checkpoint.
        beam: hypotheses kept in a search; default: that of the checkpoint.
        segmentation: never recognizes complete utterances, always cuts them at pauses, auto cuts those longer than the
            checkpoint's longest segment.
        noise: add white noise, or the babble of four other utterances.
        snr_db: signal-to-noise ratio in decibels.
        seed: of noise and rendering.
        batch_size: utterances per batch.
        out: folder for scores.json and transcripts.jsonl.
        json: print one JSON object as the last line.
        device: auto uses a GPU if available.
    """
    from mnemic_kit.record import open_record
    from mnemic_transcribe.checkpoints import SHIPPED, open_transcriber
    from mnemic_transcribe.evaluation import evaluate_with_progress, open_clips
    from mnemic_transcribe.evaluation_report import show_scores
    from mnemic_transcribe.noise import Noise
    from mnemic_transcribe.scoring import write_predictions

    if batch_size < 1:
        raise UserError(f"--batch_size must be at least 1, got {batch_size}")
    if out is not None:
        check_outputs(out / "scores.json", out / "transcripts.jsonl")
    transcriber = open_transcriber(checkpoint, decoding=decoding, beam=beam, device=device)
    clips, problems = open_clips(data, split, transcriber.settings.text_style)
    added = None if noise is None else Noise(noise, snr_db)
    given = {"split": split, "noise": None if added is None else str(added), "segmentation": segmentation}
    record = None
    if out is not None:
        # All that can change a score, so that other options do not silently return old scores.
        options = given | {"decoding": decoding, "beam": beam, "seed": seed, "batch_size": batch_size, "device": device}
        files = {"data": data, "checkpoint": checkpoint or SHIPPED}
        record = open_record(out / "scores.json", "mnemic-transcribe", options, files)
    settings: dict[str, Any] = {"noise": added, "seed": seed, "batch_size": batch_size}
    evaluation = evaluate_with_progress(transcriber, clips, str(data), segmentation=segmentation, **settings)
    evaluation.problems[:0] = problems  # rows of the manifest first, then unreadable files
    summary = evaluation.summary() | given | {"data": str(data), "checkpoint": str(checkpoint or SHIPPED.name)}
    summary["decoding"] = transcriber.settings.decoding
    summary["memory"] = transcriber.recognizer.model.config.memory.name
    summary["num_unreadable"] = len(evaluation.problems)
    if record is not None:
        write_predictions(record.path.with_name("transcripts.jsonl"), evaluation.predictions)
        record.write(summary)
    show_scores(summary, evaluation, as_json=json)
