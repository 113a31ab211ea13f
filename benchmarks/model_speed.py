"""One frame of MeMOTR (DanceTrack setting, 20 live tracks) against a torchvision ResNet-50 forward of the same image.

``python benchmarks/model_speed.py [--device cuda] [--size 800 1333] [--precision fp32 bf16] [--emulate] [--compile]
[--write]`` prints one JSON object; ``--write`` also keeps it in ``benchmarks/results/model_speed.json``. Both take
turns in one process, the ResNet in channels_last, so that the ratio holds on a noisy machine. Weights are random: the
cost is that of trained ones. By arithmetic alone the ratio is about 3.1, the official algorithm measures about 12 (see
the model card). A CPU without bfloat16 instructions can only emulate bf16, slowly: there it is left out without
``--emulate``. On a GPU the frames per second and the training clips per second are added.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torchvision
from common.report import machine
from torch import Tensor

from mnemic_vision.memotr import (
    ClipBatch,
    ClipCriterion,
    Memotr,
    MemotrConfig,
    Target,
    TrackState,
    build_memotr,
    clip_loss,
)
from mnemic_vision.memotr.output import observe

RESULT = Path(__file__).parent / "results" / "model_speed.json"
LIVE_TRACKS = 20
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def padded(size: tuple[int, int]) -> tuple[int, int]:
    """Return the sides rounded up to multiples of 32."""
    return -(-size[0] // 32) * 32, -(-size[1] // 32) * 32


def frame(size: tuple[int, int], device: str) -> tuple[Tensor, Tensor]:
    """Return a random image in its canvas and the padding."""
    height, width = padded(size)
    images = torch.randn(1, 3, height, width, device=device)
    padding = torch.ones(1, height, width, dtype=torch.bool, device=device)
    padding[:, : size[0], : size[1]] = False
    return images.masked_fill(padding[:, None], 0).contiguous(memory_format=torch.channels_last), padding


def live_tracks(model: Memotr) -> TrackState:
    """Return a buffer with twenty used slots."""
    tracks = model.init_tracks(1)
    valid = torch.arange(tracks.valid.shape[1], device=tracks.valid.device)[None] < LIVE_TRACKS
    return replace(
        tracks, valid=valid, query=torch.randn_like(tracks.query), reference=torch.randn_like(tracks.reference)
    )


def has_bf16(device: str) -> bool:
    """Return whether bfloat16 products run in hardware."""
    if device != "cpu":
        return torch.cuda.is_bf16_supported()
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def seconds(call: Callable[[], object], device: str) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    call()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def interleaved(calls: dict[str, Callable[[], object]], repetitions: int, device: str) -> dict[str, dict[str, float]]:
    """Return median and least time of each call; they take turns, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repetitions + 1):
        for name, call in calls.items():
            elapsed = seconds(call, device)
            if turn:
                times[name].append(elapsed)
    return {name: {"median_s": statistics.median(row), "least_s": min(row)} for name, row in times.items()}


def stages(model: Memotr, images: Tensor, padding: Tensor, tracks: TrackState) -> dict[str, Callable[[], object]]:
    """Return the whole frame and its parts as calls."""
    features = model.backbone(images)
    return {
        "memotr": lambda: model.track_memory(observe(tracks, model(images, padding, tracks))[0]),
        "memotr backbone": lambda: model.backbone(images),
        "memotr without backbone": lambda: model.detect(features, padding, tracks),
        "memotr memory update": lambda: model.track_memory(tracks),
    }


@torch.no_grad()
def inference(options: argparse.Namespace, precision: str) -> dict[str, Any]:
    """Measure one precision."""
    device = options.device
    images, padding = frame(tuple(options.size), device)
    model = build_memotr(MemotrConfig()).eval().to(device)
    tracks = live_tracks(model)
    resnet = torchvision.models.resnet50(weights=None).eval().to(device, memory_format=torch.channels_last)
    if options.compile:
        model.forward = torch.compile(model.forward)
    with torch.autocast(device, dtype=PRECISIONS[precision], enabled=precision != "fp32"):
        calls = {"resnet50": lambda: resnet(images)} | stages(model, images, padding, tracks)
        found: dict[str, Any] = interleaved(calls, options.repetitions, device)
    found["ratio_of_medians"] = found["memotr"]["median_s"] / found["resnet50"]["median_s"]
    found["ratio_of_least"] = found["memotr"]["least_s"] / found["resnet50"]["least_s"]
    found["frames_per_second"] = 1 / found["memotr"]["median_s"]
    return found


def training(options: argparse.Namespace, precision: str) -> dict[str, float]:
    """Measure forward and backward of one clip of two frames with ten objects."""
    device = options.device
    images, padding = frame(tuple(options.size), device)
    model, criterion = build_memotr(MemotrConfig()).train().to(device), ClipCriterion()
    boxes = torch.rand(10, 4, device=device) * 0.2 + 0.3
    target = Target(boxes, torch.zeros(10, dtype=torch.long, device=device), torch.arange(10, device=device))
    clip = ClipBatch(images[:, None].repeat(1, 2, 1, 1, 1), padding, [[target], [target]])

    def step() -> None:
        with torch.autocast(device, dtype=PRECISIONS[precision], enabled=precision != "fp32"):
            loss, _, _ = clip_loss(model, criterion, clip)
        loss.backward()

    return {"clips_per_second": 1 / interleaved({"clip": step}, options.repetitions, device)["clip"]["median_s"]}


def main() -> None:
    """Measure, print, and with --write keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--size", nargs=2, type=int, default=[800, 1333], help="height and width of the image")
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=list(PRECISIONS))
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--emulate", action="store_true", help="time bf16 even where the processor only emulates it")
    parser.add_argument("--compile", action="store_true", help="compile the network first")
    parser.add_argument("--write", action="store_true", help=f"keep the result in {RESULT.name}")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    results: dict[str, Any] = {}
    for precision in options.precision:
        is_emulated = precision == "bf16" and not has_bf16(options.device)
        if is_emulated and not options.emulate:
            results[precision] = "not run: this processor has no bfloat16 instructions"
            continue
        results[precision] = inference(options, precision) | ({"emulated": True} if is_emulated else {})
        if options.device != "cpu":
            results[precision] |= training(options, precision)
    document = {
        "benchmark": "model_speed",
        "config": vars(options) | {"padded": padded(tuple(options.size)), "live_tracks": LIVE_TRACKS},
        "results": results,
        "peak_resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "machine": machine(options.device),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    print(json.dumps(document, indent=2))
    if options.write:
        RESULT.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
