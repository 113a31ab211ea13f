"""What the memory of appearances is worth to the shipped tracker, on sequences that no choice was made on.

Scores with and without it on generated people, with obstacles to hide behind and without, and on the validation part of
PETS; the interval is that of the mean difference over the generated sequences, by bootstrap. Seeds 11 and 12 chose the
settings. A quarter of an hour on one core.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common.report import run

from mnemic_track.checkpoints import open_tracker
from mnemic_track.metrics import TrackingScores, evaluate_sequences
from mnemic_track.sequences import results_of, track_sequence
from mnemic_vision.memotr import Tracker
from mnemic_vision.memotr.data import GeneratedSequences, MotSequences, TrackingSequence

FIRST_SEED, NUM_FRAMES, SIZE = 100, 60, (288, 384)
SCORES = ("hota", "assa", "mota", "idf1")


def appearance_memory(
    sequences: int = 10, data: Path = Path("../shared/data/tracking/val"), device: str = "cpu"
) -> dict[str, Any]:
    """Return the scores of the shipped tracker with and without appearances.

    Args:
        sequences: generated sequences of each kind.
        data: folder of MOT sequences; left out if absent.
        device: where the network runs.
    """
    trackers = {name: open_tracker(appearance=name, device=device)[0] for name in ("off", "on")}  # type: ignore[arg-type]
    worlds = {"obstacles": generated(sequences, has_obstacles=True), "open": generated(sequences, has_obstacles=False)}
    if data.is_dir():
        worlds["PETS val"] = [*MotSequences(data, require_ground_truth=True).sequences]
    found: dict[str, Any] = {}
    for world, each in worlds.items():
        scores = {name: [score(tracker, sequence) for sequence in each] for name, tracker in trackers.items()}
        found[world] = {name: summary(of) for name, of in scores.items()}
        if len(each) > 1:
            found[world]["difference"] = {
                key: difference(scores, lambda of, key=key: getattr(of, key)) for key in SCORES
            }
    return {"sequences": sequences, "frames": NUM_FRAMES, "scores": found}


def generated(count: int, *, has_obstacles: bool) -> list[TrackingSequence]:
    """Return sequences with seeds of their own."""
    seeds = range(FIRST_SEED, FIRST_SEED + count)
    people = 8 if has_obstacles else 6
    options: dict[str, Any] = {"num_objects": people, "has_obstacles": has_obstacles}
    return [
        sequence for seed in seeds for sequence in GeneratedSequences(seed, 1, NUM_FRAMES, SIZE, **options).sequences
    ]


def score(tracker: Tracker, sequence: TrackingSequence) -> TrackingScores:
    """Return the scores on one sequence."""
    return evaluate_sequences(results_of(sequence, list(track_sequence(tracker, sequence)), ("person",)))


def summary(scores: list[TrackingScores]) -> dict[str, float]:
    """Return means over sequences, in percent, and the number of identity switches."""
    means = {key: round(100 * float(np.mean([getattr(of, key) for of in scores])), 2) for key in SCORES}
    return means | {"id_switches": sum(of.id_switches for of in scores)}


def difference(scores: dict[str, list[TrackingScores]], value: Callable[[TrackingScores], float]) -> list[float]:
    """Return the mean gain by appearances in points, and the ends of its 95 % interval."""
    gains = 100 * (np.array([*map(value, scores["on"])]) - np.array([*map(value, scores["off"])]))
    means = np.random.default_rng(0).choice(gains, (10_000, len(gains))).mean(1)
    return [round(float(each), 2) for each in (gains.mean(), *np.quantile(means, [0.025, 0.975]))]


if __name__ == "__main__":
    run(appearance_memory, packages=("mnemic-track",))
