"""Predictions and their error rates."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnemic_kit.output import write_json_lines
from mnemic_speech.metrics import character_errors, summarize, word_errors


@dataclass(frozen=True)
class Prediction:
    """The recognized and true text of an utterance.

    Args:
        id: name of the utterance.
        reference: true text.
        hypothesis: recognized text.
        seconds: duration, where known.
    """

    id: str
    reference: str
    hypothesis: str
    seconds: float | None = None


def error_rates(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Return word and character error rates of a set, and the word error rates by type.

    Example:
        >>> error_rates([Prediction("a", "one two three four", "one too three")])["wer"]
        0.5
    """
    words = summarize(word_errors(each.reference, each.hypothesis) for each in predictions)
    characters = summarize(character_errors(each.reference, each.hypothesis) for each in predictions)
    return {"wer": words.rate, "cer": characters.rate, **words.counts.shares()}


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write one JSON line for each utterance: ``id``, ``pred_text``, ``text`` and, where known, ``duration``.

    The folder is made when absent.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = [
        {"id": each.id, "pred_text": each.hypothesis, "text": each.reference}
        | ({} if each.seconds is None else {"duration": round(each.seconds, 3)})
        for each in predictions
    ]
    write_json_lines(path, rows)
