"""Error rates of a recognizer on a data set."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jaxtyping import Float
from rich.console import Console
from torch import Tensor

from mnemic_core import MemoryReport
from mnemic_core.errors import UserError
from mnemic_kit.progress import audio_progress
from mnemic_speech.conformer_ntm.inference import Transcriber
from mnemic_speech.conformer_ntm.recognition import recognize
from mnemic_speech.data import read_corpus
from mnemic_speech.data.batching import Clip
from mnemic_speech.metrics import ErrorCounts, bootstrap_interval, group_by_range, summarize, word_errors
from mnemic_speech.text import TextStyle, normalize_text
from mnemic_transcribe.noise import Noise, read_clip
from mnemic_transcribe.options import Segmentation
from mnemic_transcribe.scoring import Prediction, error_rates
from mnemic_transcribe.sources import DataSource

EDGES = (5.0, 10.0, 15.0, 20.0, 25.0, 35.0, 60.0, 120.0)  # bounds of duration ranges in seconds


@dataclass
class Evaluation:
    """Predictions and run time on a set of utterances.

    Attributes:
        predictions: of the readable utterances, in the order of the data.
        compute_seconds: time of recognition, without reading files.
        report: of the memory after the last batch, one row per utterance.
        problems: reasons for unreadable utterances, one line each.
    """

    predictions: list[Prediction] = field(default_factory=list)
    compute_seconds: float = 0.0
    report: MemoryReport | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def word_errors(self) -> list[ErrorCounts]:
        """Word errors of each utterance."""
        return [word_errors(each.reference, each.hypothesis) for each in self.predictions]

    def summary(self) -> dict[str, Any]:
        """Return the scores as plain values; rates are relative to the reference words.

        Raises:
            UserError: if no utterance could be read.
        """
        if not self.predictions:
            raise UserError(f"none of the utterances could be read; the first: {self.problems[0]}")
        errors = self.word_errors
        seconds = [each.seconds or 0.0 for each in self.predictions]
        groups = group_by_range(zip(seconds, errors, strict=True), EDGES)
        return {
            **error_rates(self.predictions),
            "wer_interval": _interval(errors),
            "sentence_error_rate": summarize(errors).sentence_error_rate,
            "wer_by_duration": {name: _scores(group) for name, group in groups.items() if group},
            "num_utterances": len(self.predictions),
            "num_words": sum(each.length for each in errors),
            "audio_seconds": round(sum(seconds), 3),
            "real_time_factor": round(self.compute_seconds / max(sum(seconds), 1e-9), 5),
            "memory_report": None if self.report is None else self.report.as_dict(),
        }


def open_clips(data: Path, split: str | None, style: TextStyle) -> tuple[list[Clip], list[str]]:
    """Return the utterances of a data set, and the problems of rows left out.

    Args:
        data: a manifest, or the folder of a data set or of digit strings (with ``strings.tsv``).
        split: part of the data; None: all.
        style: normalization of references.

    Raises:
        FileNotFoundError: if it does not exist.
        UserError: if the layout or split is unknown, or every row is wrong.
    """
    if (data / "strings.tsv").is_file():
        return DataSource("digits", data, split).open(style), []
    problems: list[str] = []
    utterances = read_corpus(data, split, problems)
    if not utterances:
        raise UserError(f"{data} has no utterance{f'; the first problem: {problems[0]}' if problems else ''}")
    return [replace(each, text=normalize_text(each.text, style)) for each in utterances], problems


def evaluate_clips(
    transcriber: Transcriber,
    clips: Sequence[Clip],
    *,
    segmentation: Segmentation = "auto",
    noise: Noise | None = None,
    seed: int = 0,
    batch_size: int = 16,
    advance: Callable[[float], None] = lambda seconds: None,
) -> Evaluation:
    """Recognize utterances and pair predictions with references.

    Args:
        transcriber: recognizer with its settings.
        clips: the utterances; unreadable ones are listed in the result.
        segmentation: ``never`` recognizes complete utterances, ``always`` cuts them at pauses, ``auto`` cuts those
            longer than ``max_seconds`` of the settings.
        noise: added to each; None: no noise.
        seed: of noise and rendering.
        batch_size: utterances per batch.
        advance: called with the seconds of audio processed.
    """
    longest = {"auto": transcriber.settings.max_seconds, "never": float("inf"), "always": 0.0}[segmentation]
    # By length, to limit padding; what is cut at pauses runs one by one, as a stream.
    order = sorted(range(len(clips)), key=lambda index: clips[index].seconds)
    whole = [index for index in order if clips[index].seconds <= longest]
    groups = [whole[first : first + batch_size] for first in range(0, len(whole), batch_size)]
    groups += [[index] for index in order[len(whole) :]]
    evaluation = Evaluation()
    found: dict[int, Prediction] = {}
    for group in groups:
        waveforms = dict(_readable(clips, group, transcriber.sample_rate, noise, seed, evaluation.problems))
        started = time.perf_counter()  # after reading: the real-time factor is of recognition alone
        transcribe_group = _recognize_complete if clips[group[0]].seconds <= longest else _recognize_segments
        if waveforms:
            texts, evaluation.report = transcribe_group(transcriber, list(waveforms.values()))
            for (index, waveform), text in zip(waveforms.items(), texts, strict=True):
                seconds = len(waveform) / transcriber.sample_rate
                found[index] = Prediction(clips[index].id, clips[index].text, text, seconds)
        evaluation.compute_seconds += time.perf_counter() - started
        advance(sum(clips[index].seconds for index in group))
    evaluation.predictions = [found[index] for index in sorted(found)]  # back in the order of the data
    return evaluation


def evaluate_with_progress(transcriber: Transcriber, clips: Sequence[Clip], title: str, **options: Any) -> Evaluation:
    """Return the result of `evaluate_clips` with these options, with a progress bar on standard error."""
    with audio_progress(title, sum(clip.seconds for clip in clips), Console(stderr=True)) as advance:
        return evaluate_clips(transcriber, clips, advance=advance, **options)


def _readable(
    clips: Sequence[Clip], group: Sequence[int], sample_rate: int, noise: Noise | None, seed: int, problems: list[str]
) -> Iterator[tuple[int, Float[Tensor, " samples"]]]:
    """Yield the readable waveforms with their indices, and collect the problems of the others."""
    for index in group:
        try:
            yield index, read_clip(clips, index, sample_rate, noise=noise, seed=seed)
        except (UserError, OSError) as error:
            problems.append(f"{clips[index].id}: {error}")


def _recognize_complete(
    transcriber: Transcriber, waveforms: list[Float[Tensor, " _samples"]]
) -> tuple[list[str], MemoryReport]:
    found, state = recognize(transcriber.recognizer, waveforms, transcriber.settings)
    return [each.text for each in found], transcriber.recognizer.model.memory.report(state)


def _recognize_segments(
    transcriber: Transcriber, waveforms: list[Float[Tensor, " _samples"]]
) -> tuple[list[str], MemoryReport]:
    [waveform] = waveforms
    stream = transcriber.stream(transcriber.sample_rate)
    segments = [segment for block in waveform.split(transcriber.sample_rate) for segment in stream.push(block)]
    segments += stream.finish()
    return [" ".join(segment.text for segment in segments)], stream.report()


def _scores(errors: Sequence[ErrorCounts]) -> dict[str, Any]:
    summary = summarize(errors)
    return {
        "wer": summary.rate,
        "wer_interval": _interval(errors),
        "deletions": summary.counts.shares()["deletions"],
        "num_utterances": summary.utterances,
    }


def _interval(errors: Sequence[ErrorCounts]) -> list[float]:
    interval = bootstrap_interval(errors)
    return [interval.low, interval.high]
