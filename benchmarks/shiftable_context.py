"""What shiftable context brings: BLEU with and without it at inference, for networks trained with and without it.

Reads the translations that ``mnemic-translate curve --shifts all none`` kept, of several checkpoints. The names of the
checkpoints say how they were trained and their seed, such as ``plain-0`` and ``shifted-0``. All translations of a
sentence are resampled together, so that the intervals of differences are paired.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from common.report import run
from sacrebleu.metrics.bleu import BLEU

from mnemic_core.errors import UserError
from mnemic_speech.simultaneous import TranslationRecord, read_instances

Array: TypeAlias = npt.NDArray[np.float64]
Logs: TypeAlias = dict[tuple[str, int, str, int], list[TranslationRecord]]
"""Translations by training, seed, shift at inference and k."""

ORDER = 4  # longest n-gram


def read_logs(folder: Path) -> Logs:
    """Return the translations that a call of ``curve`` kept.

    Raises:
        UserError: there are none, or of different sentences.
    """
    logs: Logs = {}
    for path in sorted((folder / "points").glob("*.log")):
        training, seed, shift, k = path.stem.split("-")
        logs[training, int(seed), shift, int(k.removeprefix("k"))] = read_instances(
            path.read_text(encoding="utf-8").splitlines(), path.name
        )
    if len({tuple(record.source for record in records) for records in logs.values()}) != 1:
        raise UserError(f"{folder}/points must hold translations of the same sentences")
    return logs


def statistics(records: list[TranslationRecord]) -> Array:
    """Return for each sentence the matches and n-grams of each order, and the lengths of translation and reference."""
    metric = BLEU(effective_order=True)  # of single sentences; their counts are the same
    scores = [metric.sentence_score(record.prediction, [record.reference]) for record in records]
    return np.array([[*score.counts, *score.totals, score.sys_len, score.ref_len] for score in scores], dtype=float)


def bleu(sums: Array) -> float:
    """Return corpus BLEU of summed statistics."""
    counts, totals = (list(part.astype(int)) for part in (sums[:ORDER], sums[ORDER : 2 * ORDER]))
    return BLEU.compute_bleu(counts, totals, int(sums[-2]), int(sums[-1])).score


def shiftable_context(curves: Path = Path("runs/shiftable_context"), resamples: int = 1000) -> Mapping[str, Any]:
    """Return BLEU by training, shift and k, and the gain of shiftable context with a 95 % interval.

    Args:
        curves: folder that ``curve`` wrote.
        resamples: drawn sets of sentences.
    """
    logs = read_logs(curves)
    num = len(next(iter(logs.values())))
    # Row 0 holds every sentence once: the scores themselves.
    drawn = np.random.default_rng(0).multinomial(num, np.full(num, 1 / num), resamples)
    weights = np.concatenate([np.ones((1, num)), drawn])  # (1 + resamples, sentence)
    scores = {key: np.array([bleu(row) for row in weights @ statistics(records)]) for key, records in logs.items()}
    gains = {
        (training, seed, k): scores[training, seed, "all", k] - scores[training, seed, "none", k]
        for training, seed, shift, k in logs
        if shift == "all"
    }
    trainings, ks = (sorted({key[place] for key in gains}) for place in (0, 2))
    return {
        "sentences": num,
        "bleu": {"-".join(map(str, key)): round(values[0], 2) for key, values in sorted(scores.items(), key=str)},
        "gain": {
            training: {
                "mean": _mean([value for key, value in gains.items() if key[0] == training]),
                **{f"k={k}": _mean([value for key, value in gains.items() if key[::2] == (training, k)]) for k in ks},
            }
            for training in trainings
        },
    }


def _mean(gains: list[Array]) -> dict[str, float]:
    """Return the mean gain over networks and k, with its interval."""
    mean = np.mean(gains, axis=0)
    low, high = np.quantile(mean[1:], (0.025, 0.975))
    return {"gain": round(mean[0], 2), "low": round(low, 2), "high": round(high, 2)}


if __name__ == "__main__":
    run(shiftable_context, packages=("sacrebleu",))
