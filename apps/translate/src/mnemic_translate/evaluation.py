"""Quality and latency of a translator on a data set, each utterance translated while it is spoken."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from mnemic_core.errors import UserError
from mnemic_kit.progress import audio_progress
from mnemic_speech.data.batching import Clip
from mnemic_speech.data.translations import read_translations
from mnemic_speech.metrics import summarize, word_errors
from mnemic_speech.simultaneous import (
    TranslationRecord,
    TranslationStream,
    Translator,
    WrittenWord,
    bleu_interval,
    join_words,
    latency_units,
    score_latency,
    score_quality,
)
from mnemic_speech.subsampling import STRIDE
from mnemic_speech.waveform import Samples


@dataclass
class Evaluation:
    """Translations of a data set with the time of each word.

    Attributes:
        language: of the translations.
        records: of the utterances that could be read.
        compute_seconds: time of translation, without reading files.
        audio_seconds: of these utterances.
        problems: reasons for utterances that could not be read, one line each.
    """

    language: str
    records: list[TranslationRecord] = field(default_factory=list)
    compute_seconds: float = 0.0
    audio_seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Return the scores as plain values; latency is in milliseconds, AP without unit.

        Raises:
            UserError: if no utterance could be read.
        """
        if not self.records:
            raise UserError(f"none of the utterances could be read; the first: {self.problems[0]}")
        made, wanted = ([getattr(each, name) for each in self.records] for name in ("prediction", "reference"))
        quality = score_quality(made, wanted, self.language)
        latency = score_latency([record.emission for record in self.records])
        return {
            "bleu": quality.bleu,
            "bleu_interval": list(bleu_interval(made, wanted, self.language)),
            "chrf": quality.chrf,
            "wer": summarize(word_errors(*pair) for pair in zip(wanted, made, strict=True)).rate,
            **{_NAMES.get(name, name.lower()): value for name, value in latency.scores.items()},
            "real_time_factor": round(self.compute_seconds / max(self.audio_seconds, 1e-9), 5),
            "early_share": latency.early_share,
            "num_utterances": len(self.records),
            "num_empty": latency.num_empty,
            "num_unreadable": len(self.problems),
            "audio_seconds": round(self.audio_seconds, 3),
            "bleu_signature": quality.bleu_signature,
            "chrf_signature": quality.chrf_signature,
        }


_NAMES = {
    f"{name}{suffix}": f"{name.lower()}_ms{suffix.lower()}"
    for name in ("AL", "LAAL", "DAL", "ATD")
    for suffix in ("", "_CA")
}


def open_clips(data: Path, spoken: str, written: str, split: str | None) -> tuple[list[Clip], list[str]]:
    """Return the utterances of a data set with references, and the problems of rows left out.

    Raises:
        FileNotFoundError: if it does not exist.
        UserError: if the layout or split is unknown, or every row is wrong.
    """
    problems: list[str] = []
    found = read_translations(data, spoken, written, split, problems)
    if not found:
        raise UserError(f"{data} has no utterance{f'; the first problem: {problems[0]}' if problems else ''}")
    return list(found), problems


def translate_timed(translator: Translator, samples: Samples) -> tuple[list[WrittenWord], list[float], float]:
    """Return the words of an utterance, the time at which each is written, and the time that computing took.

    The source arrives in chunks of a decision; a word is written when its source has been heard, plus the time that
    computing has taken since the start, as SimulEval counts it.

    Returns:
        The words, milliseconds from the start of the source for each, and seconds.
    """
    features, model = translator.features.config, translator.model
    chunk = round(model.config.ratio * STRIDE * features.frame_seconds * features.sample_rate)
    stream, words, elapsed, spent = TranslationStream(translator), list[WrittenWord](), list[float](), 0.0
    for start in [*range(0, len(samples), chunk), None]:
        begun = time.perf_counter()
        new = stream.finish() if start is None else stream.push(samples[start : start + chunk])
        spent += time.perf_counter() - begun
        words += new
        elapsed += [1000 * (word.seconds + spent) for word in new]
    return words, elapsed, spent


def evaluate_clips(
    translator: Translator, clips: Sequence[Clip], advance: Callable[[float], None] = lambda seconds: None
) -> Evaluation:
    """Translate utterances one after the other, and pair translations with references.

    Args:
        translator: with its settings.
        clips: the utterances; those that cannot be read are listed in the result.
        advance: called with the seconds of audio processed.
    """
    evaluation = Evaluation(translator.target)
    rate = translator.features.config.sample_rate
    for index, clip in enumerate(clips):
        try:
            samples = clip.read(rate, np.random.default_rng(index))
            words, elapsed, spent = translate_timed(translator, samples)
        except (UserError, OSError) as error:
            evaluation.problems.append(f"{clip.id}: {error}")
            continue
        evaluation.compute_seconds += spent
        evaluation.audio_seconds += len(samples) / rate
        # Chinese words count as their characters, all written at the same time.
        times = [
            (1000 * word.seconds, late)
            for word, late in zip(words, elapsed, strict=True)
            for _ in latency_units(word.text, translator.target)
        ]
        evaluation.records.append(
            TranslationRecord(
                index=index,
                prediction=join_words((word.text for word in words), translator.target),
                delays=tuple(heard for heard, _ in times),
                elapsed=tuple(late for _, late in times),
                reference=clip.text,
                source=clip.id,
                source_length=1000 * len(samples) / rate,
                language=translator.target,
            )
        )
        advance(len(samples) / rate)
    return evaluation


def evaluate_with_progress(translator: Translator, clips: Sequence[Clip], title: str, console: Console) -> Evaluation:
    """Evaluate with a progress bar."""
    with audio_progress(title, sum(clip.seconds for clip in clips), console) as advance:
        return evaluate_clips(translator, clips, advance)
