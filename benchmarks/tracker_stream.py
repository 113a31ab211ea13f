"""Memory of the running tracker over 2,000 frames: the state's bytes and the process's resident bytes.

``python benchmarks/tracker_stream.py [--frames N] [--write]`` prints one JSON object; ``--write`` also keeps it in
``benchmarks/results/tracker_stream.json``. The network is tiny and untrained, with scores around the thresholds, so
that tracks are born and die all the time: what could grow is what is kept from frame to frame, not the network.
"""

import argparse
import platform
import statistics
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common.report import machine, publish, resident_bytes

from mnemic_core import MemoryConfig
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
RESULT = Path(__file__).parent / "results" / "tracker_stream.json"


def restless_tracker(memory: str) -> Tracker:
    """Return a tracker of an untrained network that believes in about half of what it sees."""
    torch.manual_seed(0)
    model = build_memotr(replace(CONFIG, memory=MemoryConfig(memory)))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("backbone"):
                parameter.add_(0.1 * torch.randn_like(parameter))
        for head in model.class_heads:
            torch.nn.init.zeros_(head.bias)
    return Tracker(model, THRESHOLDS, short_side=SIDE, long_side=SIDE)


def measure(memory: str, frames: int) -> dict[str, Any]:
    """Return samples of memory and tracks along a stream of noise."""
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
    middle, last = samples[SAMPLES // 2 - 1], samples[-1]
    return {
        "frames": frames,
        "median_ms_per_frame": round(1000 * statistics.median(seconds), 2),
        "state_bytes": sorted({sample["state_bytes"] for sample in samples}),
        "resident_growth_second_half_bytes": last["resident_bytes"] - middle["resident_bytes"],
        "samples": samples,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=2000, help="frames of each stream, at least 20")
    parser.add_argument("--write", action="store_true", help=f"also write {RESULT.name}")
    arguments = parser.parse_args()
    if arguments.frames < SAMPLES:
        parser.error(f"--frames must be at least {SAMPLES}, got {arguments.frames}")
    torch.set_num_threads(1)
    report = {
        "benchmark": "tracker_stream",
        "machine": machine("cpu"),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "config": asdict(CONFIG) | {"frame": [SIDE, SIDE]},
        "results": {memory: measure(memory, arguments.frames) for memory in ("exponential", "window", "none")},
    }
    publish(report, RESULT if arguments.write else None)


if __name__ == "__main__":
    main()
