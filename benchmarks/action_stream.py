"""MATR frame by frame: against the same network on complete windows, and over a stream of any length.

Both run one window of the paper's THUMOS14 network per frame with a full memory. ``complete`` projects the window and
computes keys and values of all stored frames each time, with fused attention; ``cached`` is `StreamingMatr`. Several
streams in step have more rows in a product. The long stream runs a small network.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from common.report import resident_bytes, run
from common.timing import time_in_turn
from torch.utils.flop_counter import FlopCounterMode

from mnemic_core import MemoryState
from mnemic_core.errors import check_at_least
from mnemic_vision.matr import Clock, EmissionRule, Matr, MatrConfig, OnlineLocalizer, StreamingMatr
from mnemic_vision.matr.data import InputConfig

SMALL = MatrConfig(
    modalities=(64,),
    dim=64,
    ffn_dim=128,
    encoder_layers=2,
    encoder_heads=4,
    decoder_layers=2,
    decoder_heads=4,
    window=32,
    num_queries=4,
    capacity=4,
)


@torch.no_grad()
def full_memory(model: Matr, streams: int) -> MemoryState:
    """Return memories of one lane of each stream that hold as many windows as they can."""
    state, config = model.init_state(streams), model.config
    for number in range(config.capacity):
        now = torch.full((streams,), number * config.window)
        _, state = model.past_windows(torch.randn(streams, config.window, config.dim), state, now)
    return state


def complete_windows(model: Matr, streams: int) -> Callable[[], object]:
    """Return a call that runs one window of each stream from its features."""
    config, state = model.config, full_memory(model, streams)
    features = torch.randn(streams, config.window, config.num_features)
    now = torch.full((streams,), config.capacity * config.window)

    @torch.no_grad()
    def call() -> object:
        return model(model.project(features), state, now)

    return call


def cached_frames(model: Matr, streams: int) -> Callable[[], object]:
    """Return a call that runs one frame of each stream, with a full memory in every lane."""
    config = model.config
    engine = StreamingMatr(model, streams, flag_threshold=-1.0)  # every window is stored
    frames = torch.randn(64, streams, config.num_features)
    for index in range(config.window * (config.capacity + 1)):
        engine.step(frames[index % len(frames)])
    return lambda: engine.step(frames[0])


def gflop(call: Callable[[], object]) -> float:
    """Return the arithmetic of a call in GFLOP, 2 per multiply-add."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return round(counter.get_total_flops() / 1e9, 2)


def against_windows(model: Matr, streams: int, repetitions: int) -> dict[str, Any]:
    """Return time and arithmetic of a window of each stream in both forms."""
    calls = {"complete": complete_windows(model, streams), "cached": cached_frames(model, streams)}
    times = time_in_turn(calls, repetitions)
    ratio = {key: round(times["cached"][key] / times["complete"][key], 3) for key in ("median_s", "least_s", "cpu_s")}
    return {**times, "ratio": ratio, "gflop": {name: gflop(call) for name, call in calls.items()}}


def long_stream(length: int) -> dict[str, Any]:
    """Return time per frame and memory over a stream, in ten parts."""
    torch.manual_seed(0)
    model = Matr(SMALL)
    inputs, classes = InputConfig("plain", SMALL.num_features), tuple(map(str, range(SMALL.num_classes)))
    localizer = OnlineLocalizer(model, inputs, classes, Clock(0.1), EmissionRule(score=0.05, flag=0.45))
    generator, parts = np.random.default_rng(0), []
    for _ in range(10):
        frames = generator.standard_normal((length // 10, SMALL.num_features), dtype=np.float32)
        start, emitted = time.perf_counter(), 0
        for frame in frames:
            emitted += len(localizer.push(frame))
        parts.append(
            {
                "ms_per_frame": round(1000 * (time.perf_counter() - start) / len(frames), 3),
                "resident_mb": round(resident_bytes() / 1e6, 1),
                "frames_in_store": localizer.engine.num_stored,
                "windows_in_memory": localizer.windows_in_memory,
                "emitted": emitted,
            }
        )
    return {"frames": length, "parts": parts}


def action_stream(
    repetitions: int = 15, streams: tuple[int, ...] = (1, 8), frames: int = 100_000, threads: int = os.cpu_count() or 1
) -> dict[str, Any]:
    """Measure the network frame by frame.

    Args:
        repetitions: turns of each form.
        streams: streams that run in step.
        frames: length of the long stream.
        threads: CPU threads.
    """
    check_at_least(3, repetitions=repetitions)
    check_at_least(1000, frames=frames)
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = Matr(MatrConfig()).eval().requires_grad_(False)
    results = {f"{number} streams": against_windows(model, number, repetitions) for number in streams}
    return {"thumos14": results, "long_stream": long_stream(frames)}


if __name__ == "__main__":
    run(action_stream, packages=["numpy"])
