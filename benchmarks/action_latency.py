"""Time from a video frame to its feature, for named backbones, as percentiles and a histogram.

Frames are decoded already, of 1280 x 720 pixels, and come one by one, as from a camera. Latency is the time of a call
with a frame that a feature belongs to. Frames between are only cut and resized where a later clip needs them; their
time is given apart. Weights are random, which does not change the cost.
"""

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from common.report import run

from mnemic_core.errors import UserError, check_at_least
from mnemic_vision.frame_features import ExtractorConfig, FeatureExtractor

SIZE = (720, 1280)  # height and width of a frame
FRAME_RATE = 30.0
# Each with the input that its ImageNet or Kinetics weights were trained for.
BACKBONES = {
    "tf_efficientnet_lite0": ExtractorConfig("tf_efficientnet_lite0"),
    "resnet50": ExtractorConfig("resnet50"),
    "s3d": ExtractorConfig("s3d", clip_length=16),
    "r3d_18": ExtractorConfig("r3d_18", clip_length=16, size=112),
}
WARM_UPS = 3  # features
BIN_EDGES_MS = tuple(float(edge) for edge in np.geomspace(1, 10_000, 41).round(2))  # ten per factor of ten


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """Return percentiles, and the counts of the histogram by the lower edge of their bin."""
    milliseconds = 1000 * np.array(seconds)
    counts, _ = np.histogram(milliseconds.clip(BIN_EDGES_MS[0], BIN_EDGES_MS[-1]), BIN_EDGES_MS)
    return {
        **{f"p{rank}_ms": round(float(np.percentile(milliseconds, rank)), 2) for rank in (50, 95, 99)},
        "histogram": {
            f"{edge:g} ms": count for edge, count in zip(BIN_EDGES_MS, counts.tolist(), strict=False) if count
        },
    }


def measure(config: ExtractorConfig, features: int, device: str) -> dict[str, Any]:
    """Return the latency of a backbone over a stream of noise."""
    extractor, noise = FeatureExtractor(config, device=device), np.random.default_rng(0)
    frames = noise.integers(0, 256, (8, *SIZE, 3), dtype=np.uint8)  # drawing more would take longer than the network
    with_feature, between = [], []
    for index in range((features + WARM_UPS) * config.stride):
        start = time.perf_counter()
        is_feature = extractor(frames[index % len(frames)]) is not None
        (with_feature if is_feature else between).append(time.perf_counter() - start)
    found = summary(with_feature[WARM_UPS:])
    return {
        "clip": [config.clip_length, config.size, config.size],
        "dim": extractor.dim,
        "stride": config.stride,
        "features": features,
        **found,
        "other_frames_p50_ms": round(1000 * float(np.median(between)), 3) if between else None,
        "share_of_real_time": round(found["p50_ms"] / 1000 * FRAME_RATE / config.stride, 3),
    }


def action_latency(
    backbones: tuple[str, ...] = tuple(BACKBONES),
    features: int = 200,
    threads: int = os.cpu_count() or 1,
    device: str = "cpu",
) -> dict[str, Any]:
    """Measure how long a frame takes to become a feature.

    Args:
        backbones: names of those to measure.
        features: features of each.
        threads: CPU threads.
        device: cpu or cuda.
    """
    check_at_least(20, features=features)
    if unknown := set(backbones) - BACKBONES.keys():
        raise UserError(f"backbones must be some of {', '.join(BACKBONES)}, got {', '.join(sorted(unknown))}")
    torch.set_num_threads(threads)
    return {
        "config": {"frame": list(SIZE), "frame_rate": FRAME_RATE},
        "results": {name: measure(BACKBONES[name], features, device) for name in backbones},
    }


if __name__ == "__main__":
    run(action_latency, packages=["torchvision", "timm", "numpy"])
