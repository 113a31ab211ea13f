"""Time from a video frame to its feature and to what MATR predicts, for named backbones, as percentiles and histograms.

Frames are decoded already, of 1280 x 720 pixels, and come one by one, as from a camera. Latency is the time of a frame
that a feature belongs to: cutting, resizing and the backbone, then the network of the paper's size with a full memory.
Frames between are only cut and resized where a later clip needs them; their time is given apart. Weights are random,
which does not change the cost.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from common.report import run

from mnemic_core.errors import UserError, check_at_least
from mnemic_vision.frame_features import ExtractorConfig, FeatureExtractor
from mnemic_vision.matr import Matr, MatrConfig
from mnemic_vision.matr.streaming.engine import StreamingMatr

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


def filled_engine(dim: int, device: str) -> StreamingMatr:
    """Return the network for features of a width, in a stream that has run until its memory is full."""
    torch.manual_seed(0)
    config = MatrConfig(modalities=(dim,))
    engine = StreamingMatr(Matr(config).to(device), flag_threshold=0.0)  # every window is stored
    for _ in range(config.window * (config.capacity + 1)):
        engine.step(torch.randn(1, dim))
    return engine


def measure(config: ExtractorConfig, features: int, device: str) -> dict[str, Any]:
    """Return the latency of a backbone, of the network, and of both over a stream of noise."""
    extractor, noise = FeatureExtractor(config, device=device), np.random.default_rng(0)
    engine = filled_engine(extractor.dim, device)
    frames = noise.integers(0, 256, (8, *SIZE, 3), dtype=np.uint8)  # drawing more would take longer than the network
    between, of_backbone, of_network = [], [], []
    for index in range((features + WARM_UPS) * config.stride):
        start = time.perf_counter()
        feature = extractor(frames[index % len(frames)])
        middle = time.perf_counter()
        if feature is None:
            between.append(middle - start)
            continue
        engine.step(feature[None]).classes.cpu()
        of_backbone.append(middle - start)
        of_network.append(time.perf_counter() - middle)
    both = [sum(pair) for pair in zip(of_backbone, of_network, strict=True)]
    parts = {"backbone": of_backbone, "network": of_network, "both": both}
    summaries = {name: summary(seconds[WARM_UPS:]) for name, seconds in parts.items()}
    return {
        "clip": f"{config.clip_length} x {config.size} x {config.size}",
        "dim": extractor.dim,
        "stride": config.stride,
        **summaries,
        "frames_between_p50_ms": round(1000 * float(np.median(between)), 3) if between else None,
        "share_of_real_time": round(summaries["both"]["p50_ms"] / 1000 * FRAME_RATE / config.stride, 3),
    }


def action_latency(
    backbones: tuple[str, ...] = tuple(BACKBONES),
    features: int = 200,
    threads: int = os.cpu_count() or 1,
    device: str = "cpu",
) -> dict[str, Any]:
    """Measure how long a frame takes to become a feature and a prediction.

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
        "config": {"frame": SIZE, "frame_rate": FRAME_RATE, "features": features, "network": asdict(MatrConfig())},
        "results": {name: measure(BACKBONES[name], features, device) for name in backbones},
    }


if __name__ == "__main__":
    run(action_latency, packages=["torchvision", "timm", "numpy"])
