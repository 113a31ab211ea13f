"""Times of calls that take turns, so that their ratios hold on a machine with other load."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch

Calls = Mapping[str, Callable[[], object]]

LEAST_SECONDS = 0.02  # shorter calls are repeated within a turn


def time_in_turn(calls: Calls, repetitions: int, device: str = "cpu", warm_ups: int = 1) -> dict[str, dict[str, float]]:
    """Return median and minimum of the wall time of each call, and the median of its processor time, in seconds.

    Args:
        calls: calls by name.
        repetitions: turns that count.
        device: ``cpu`` or ``cuda``.
        warm_ups: turns before them; 2 if the first call is far slower than the others, as with a compiler.
    """
    rounds = dict.fromkeys(calls, 1)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for turn in range(-warm_ups, repetitions):
        for name, call in calls.items():
            wall, processor = _seconds(call, rounds[name], device)
            if turn < 0:
                # The last warm-up decides, when caches are filled.
                rounds[name] = max(1, round(LEAST_SECONDS / wall))
            else:
                times[name].append((wall, processor))
    found = {name: list(zip(*pairs, strict=True)) for name, pairs in times.items()}
    return {
        name: {"median_s": statistics.median(walls), "least_s": min(walls), "cpu_s": statistics.median(processors)}
        for name, (walls, processors) in found.items()
    }


def _seconds(call: Callable[[], object], rounds: int, device: str) -> tuple[float, float]:
    """Return the wall and processor time of one of several calls."""
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(rounds):
        call()
    if device != "cpu":
        torch.cuda.synchronize()  # kernels run after their calls have returned
    return (time.perf_counter() - wall) / rounds, (time.process_time() - processor) / rounds
