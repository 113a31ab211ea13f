"""Time from a video frame to its feature and to what MATR predicts, for named backbones, as percentiles and histograms.

Frames are decoded already, of 1280 x 720 pixels, and come one by one, as from a camera at 30 frames a second. Latency
is the time of a frame that a feature belongs to: cutting, resizing and the backbone, then the localizer with a full
memory. Frames between are only cut and resized where a later clip needs them, which counts in the share of real time.
Weights are random unless a checkpoint is given, which does not change the cost.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common.report import run
from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError, check_at_least
from mnemic_vision.frame_features import ExtractorConfig, FeatureExtractor
from mnemic_vision.matr import Clock, EmissionRule, LocalizerCheckpoint, Matr, MatrConfig, OnlineLocalizer
from mnemic_vision.matr.data.features import InputConfig

SIZE = (720, 1280)  # height and width of a frame
# Each with the input that its ImageNet or Kinetics weights were trained for.
BACKBONES = {
    "tf_efficientnet_lite0": ExtractorConfig("tf_efficientnet_lite0"),
    "resnet50": ExtractorConfig("resnet50"),
    "s3d": ExtractorConfig("s3d", clip_length=16, frame_step=2),
    "r3d_18": ExtractorConfig("r3d_18", clip_length=16, frame_step=2, size=112),
}
WARM_UPS = 3  # features
BIN_EDGES_MS = tuple(float(edge) for edge in np.geomspace(1, 10_000, 41).round(2))  # ten per factor of ten


def summary(seconds: Float[np.ndarray, " feature"]) -> dict[str, Any]:
    """Return percentiles, and the counts of the histogram by the lower edge of their bin."""
    milliseconds = 1000 * seconds
    counts, _ = np.histogram(milliseconds.clip(BIN_EDGES_MS[0], BIN_EDGES_MS[-1]), BIN_EDGES_MS)
    return {
        **{f"p{rank}_ms": round(float(np.percentile(milliseconds, rank)), 2) for rank in (50, 95, 99)},
        "histogram": {
            f"{edge:g} ms": count for edge, count in zip(BIN_EDGES_MS, counts.tolist(), strict=False) if count
        },
    }


def paper_localizer(dim: int, device: str) -> OnlineLocalizer:
    """Return a localizer of the paper's size for features of a width, with random weights."""
    torch.manual_seed(0)
    model = Matr(MatrConfig(modalities=(dim,))).to(device)
    classes = tuple(map(str, range(model.config.num_classes)))
    return OnlineLocalizer(model, InputConfig("plain", channels=dim), classes, Clock(0.2), EmissionRule(flag=0.0))


def fill(localizer: OnlineLocalizer) -> None:
    """Run a localizer that stores every window until its memory is full."""
    config = localizer.model.config
    for _ in range(config.window * (config.capacity + 1)):
        localizer.push(torch.randn(localizer.inputs.channels))


def timed_features(extractor: FeatureExtractor, count: int) -> Iterator[tuple[Tensor, float, float]]:
    """Yield features of noise, the seconds of the frame that each belongs to, and those of the frames before it."""
    # Drawing every frame would take longer than a small network.
    frames = np.random.default_rng(0).integers(0, 256, (8, *SIZE, 3), dtype=np.uint8)
    between = 0.0
    for index in range(1 + (count - 1) * extractor.config.stride):
        start = time.perf_counter()
        feature = extractor(frames[index % len(frames)])
        seconds = time.perf_counter() - start
        if feature is None:
            between += seconds
        else:
            yield feature, seconds, between
            between = 0.0


def random_features(localizer: OnlineLocalizer, count: int) -> Iterator[tuple[Tensor, float, float]]:
    """Yield random frames of a stream that is no video; they cost nothing."""
    for _ in range(count):
        yield torch.randn(localizer.inputs.channels), 0.0, 0.0


def measure(localizer: OnlineLocalizer, extractor: FeatureExtractor | None, features: int) -> dict[str, Any]:
    """Return the latency of backbone, network and both over a stream of noise."""
    fill(localizer)
    count = features + WARM_UPS
    source = random_features(localizer, count) if extractor is None else timed_features(extractor, count)
    rows = []
    for feature, of_backbone, between in source:
        start = time.perf_counter()
        localizer.push(feature)
        rows.append((of_backbone, time.perf_counter() - start, between))
    of_backbone, of_network, between = np.array(rows[WARM_UPS:]).T
    found: dict[str, Any] = {"network": summary(of_network)}
    if extractor is not None:
        found = {"backbone": summary(of_backbone), **found, "both": summary(of_backbone + of_network)}
        found = {"extractor": asdict(extractor.config), "dim": extractor.dim, **found}
    busy = float(np.mean(of_backbone + of_network + between))
    return {**found, "share_of_real_time": round(busy / localizer.clock.frame_time, 3)}


def action_latency(
    backbones: tuple[str, ...] = tuple(BACKBONES),
    checkpoint: Path | None = None,
    weights: Path | None = None,
    features: int = 200,
    threads: int = os.cpu_count() or 1,
    device: str = "cpu",
) -> dict[str, Any]:
    """Measure how long a frame takes to become a feature and a result.

    Args:
        backbones: names of those to measure, with a random network of the paper's size.
        checkpoint: a trained localizer to measure instead, with the backbone of its features if it has one.
        weights: file with the weights of that backbone.
        features: features of each.
        threads: CPU threads.
        device: cpu or cuda.
    """
    check_at_least(20, features=features)
    if unknown := set(backbones) - BACKBONES.keys():
        raise UserError(f"backbones must be some of {', '.join(BACKBONES)}, got {', '.join(sorted(unknown))}")
    torch.set_num_threads(threads)
    results: dict[str, Any] = {}
    if checkpoint is not None:
        trained = LocalizerCheckpoint.load(checkpoint).to(device)
        settings = trained.settings
        stores_all = replace(settings, rule=replace(settings.rule, flag=0.0))
        extractor = settings.extractor and FeatureExtractor(settings.extractor, weights, device)
        results[checkpoint.name] = measure(replace(trained, settings=stores_all).localizer(), extractor, features)
    for name in () if checkpoint else backbones:
        extractor = FeatureExtractor(BACKBONES[name], device=device)
        results[name] = measure(paper_localizer(extractor.dim, device), extractor, features)
    return {"config": {"frame": SIZE, "features": features, "network": asdict(MatrConfig())}, "results": results}


if __name__ == "__main__":
    run(action_latency, packages=["torchvision", "timm", "numpy"])
