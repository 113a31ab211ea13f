"""Memory of the running tracker over 2,000 frames: bytes of its state and resident bytes of the process.

The network is tiny and untrained, with scores around the thresholds, so that tracks start and end all the time: memory
can only grow by what is kept between frames.
"""

import statistics
import time
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from common.report import resident_bytes, run

from mnemic_core import MemoryConfig
from mnemic_core.errors import check_at_least
from mnemic_vision.memotr import MemotrConfig, Thresholds, Tracker, build_memotr

CONFIG = MemotrConfig(
    dim=32,
    num_heads=4,
    memory_heads=4,
    ffn_dim=32,
    num_levels=2,
    encoder_points=2,
    decoder_points=2,
    encoder_layers=1,
    decoder_layers=2,
    num_queries=10,
    capacity=32,
    backbone="test_efficientnet",
    backbone_levels=2,
)
THRESHOLDS = Thresholds(detect=0.55, track=0.5, miss_tolerance=3)
SIDE = 64  # pixels of a frame
SAMPLES = 20  # evenly spaced over the stream


def restless_tracker(memory: str) -> Tracker:
    """Return a tracker with an untrained network whose scores are about 0.5."""
    torch.manual_seed(0)
    model = build_memotr(replace(CONFIG, memory=MemoryConfig(memory)))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("backbone"):
                # Zero initializations would give every query the same score.
                parameter.add_(0.1 * torch.randn_like(parameter))
        for head in model.class_heads:
            torch.nn.init.zeros_(head.bias)
    return Tracker(model, THRESHOLDS, short_side=SIDE, long_side=SIDE)


def measure(memory: str, frames: int) -> dict[str, Any]:
    """Return memory use and number of tracks along a stream of noise."""
    tracker, noise = restless_tracker(memory), np.random.default_rng(0)
    samples, seconds = [], []
    for index in range(1, frames + 1):
        frame = noise.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        start = time.perf_counter()
        tracker(frame)
        seconds.append(time.perf_counter() - start)
        if index % (frames // SAMPLES) == 0:
            state = tracker.state
            samples.append(
                {
                    "frame": index,
                    "resident_bytes": resident_bytes(),
                    "state_bytes": state.nbytes,
                    "tracks": int(state.valid.sum()),
                    "born": int(state.next_id),
                }
            )
    # In the first half caches of the allocator still grow.
    middle, last = samples[SAMPLES // 2 - 1], samples[-1]
    return {
        "frames": frames,
        "median_ms_per_frame": round(1000 * statistics.median(seconds), 2),
        "state_bytes": sorted({sample["state_bytes"] for sample in samples}),
        "resident_growth_second_half_bytes": last["resident_bytes"] - middle["resident_bytes"],
        "samples": samples,
    }


def tracker_stream(frames: int = 2000) -> dict[str, Any]:
    """Measure the memory of running trackers.

    Args:
        frames: frames of each stream, at least 20.
    """
    check_at_least(SAMPLES, frames=frames)
    torch.set_num_threads(1)
    return {
        "config": asdict(CONFIG) | {"frame": [SIDE, SIDE]},
        "results": {memory: measure(memory, frames) for memory in ("exponential", "window", "none")},
    }


if __name__ == "__main__":
    run(tracker_stream, packages=["numpy"])
