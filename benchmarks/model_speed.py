"""One frame of MeMOTR (DanceTrack setting, 20 live tracks) against a torchvision ResNet-50 forward of the same image.

Both take turns in one process, the ResNet in channels_last. Weights are random, which does not change the cost. By
arithmetic alone the ratio is about 3.1; the official algorithm measures about 12 (see the model card). A CPU without
bfloat16 instructions only emulates bf16, slowly: it is skipped there without ``--emulate``. On a GPU frames per second
and training clips per second are added.
"""

import os
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
import torchvision
from common.report import run
from common.timing import Calls, time_in_turn
from jaxtyping import Bool, Float
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

LIVE_TRACKS = 20
Precision = Literal["fp32", "bf16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def padded(size: tuple[int, int]) -> tuple[int, int]:
    """Return the sides rounded up to multiples of 32."""
    return -(-size[0] // 32) * 32, -(-size[1] // 32) * 32


def frame(
    size: tuple[int, int], device: str
) -> tuple[Float[Tensor, "1 3 height width"], Bool[Tensor, "1 height width"]]:
    """Return a random image with padding to multiples of 32, and the mask of the padding."""
    height, width = padded(size)
    images = torch.randn(1, 3, height, width, device=device)
    padding = torch.ones(1, height, width, dtype=torch.bool, device=device)
    padding[:, : size[0], : size[1]] = False  # True at padding
    return images.masked_fill(padding[:, None], 0).contiguous(memory_format=torch.channels_last), padding


def live_tracks(model: Memotr) -> TrackState:
    """Return a track buffer with 20 valid rows."""
    tracks = model.init_tracks(1)
    valid = torch.arange(tracks.valid.shape[1], device=tracks.valid.device)[None] < LIVE_TRACKS
    return replace(
        tracks, valid=valid, query=torch.randn_like(tracks.query), reference=torch.randn_like(tracks.reference)
    )


def has_bf16(device: str) -> bool:
    """Return whether the hardware has bfloat16 instructions."""
    if device != "cpu":
        return torch.cuda.is_bf16_supported()
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def stages(
    model: Memotr,
    images: Float[Tensor, "1 3 height width"],
    padding: Bool[Tensor, "1 height width"],
    tracks: TrackState,
) -> Calls:
    """Return the complete frame and its parts as calls."""
    features = model.backbone(images)
    return {
        "memotr": lambda: model.track_memory(observe(tracks, model(images, padding, tracks))[0]),
        "memotr backbone": lambda: model.backbone(images),
        "memotr without backbone": lambda: model.detect(features, padding, tracks),
        "memotr memory update": lambda: model.track_memory(tracks),
    }


@torch.no_grad()
def inference(
    size: tuple[int, int], precision: Precision, device: str, repetitions: int, *, is_compiled: bool
) -> dict[str, Any]:
    """Measure one frame in one precision."""
    images, padding = frame(size, device)
    model = build_memotr(MemotrConfig()).eval().to(device)
    tracks = live_tracks(model)
    resnet = torchvision.models.resnet50(weights=None).eval().to(device, memory_format=torch.channels_last)
    if is_compiled:
        model.forward = torch.compile(model.forward)
    # The ResNet in the same precision and memory format.
    with torch.autocast(device, dtype=DTYPES[precision], enabled=precision != "fp32"):
        calls = {"resnet50": lambda: resnet(images), **stages(model, images, padding, tracks)}
        found: dict[str, Any] = time_in_turn(calls, repetitions, device)
    found["ratio_of_medians"] = found["memotr"]["median_s"] / found["resnet50"]["median_s"]
    found["ratio_of_least"] = found["memotr"]["least_s"] / found["resnet50"]["least_s"]
    found["frames_per_second"] = 1 / found["memotr"]["median_s"]
    return found


def training(size: tuple[int, int], precision: Precision, device: str, repetitions: int) -> dict[str, float]:
    """Measure forward and backward of one clip of two frames with ten objects."""
    images, padding = frame(size, device)
    model, criterion = build_memotr(MemotrConfig()).train().to(device), ClipCriterion()
    boxes = torch.rand(10, 4, device=device) * 0.2 + 0.3
    target = Target(boxes, torch.zeros(10, dtype=torch.long, device=device), torch.arange(10, device=device))
    clip = ClipBatch(images[:, None].repeat(1, 2, 1, 1, 1), padding, [[target], [target]])

    def step() -> None:
        with torch.autocast(device, dtype=DTYPES[precision], enabled=precision != "fp32"):
            loss, _, _ = clip_loss(model, criterion, clip)
        loss.backward()

    return {"clips_per_second": 1 / time_in_turn({"clip": step}, repetitions, device)["clip"]["median_s"]}


def model_speed(
    device: str = "cpu",
    size: tuple[int, int] = (800, 1333),
    precision: tuple[Precision, ...] = ("fp32", "bf16"),
    threads: int = os.cpu_count() or 1,
    repetitions: int = 3,
    emulate: bool = False,
    compiled: bool = False,
) -> dict[str, Any]:
    """Measure one frame of MeMOTR against a ResNet-50 of the same image.

    Args:
        device: cpu or cuda.
        size: height and width of the image.
        precision: fp32 or bf16, or both.
        threads: CPU threads.
        repetitions: turns of each call.
        emulate: measure bf16 even where the processor only emulates it.
        compiled: compile the network first.
    """
    config = dict(locals())  # all options
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    results: dict[str, Any] = {}
    for name in precision:
        is_emulated = name == "bf16" and not has_bf16(device)
        if is_emulated and not emulate:
            results[name] = "not run: this processor has no bfloat16 instructions"
            continue
        results[name] = inference(size, name, device, repetitions, is_compiled=compiled)
        results[name] |= {"emulated": True} if is_emulated else {}
        if device != "cpu":
            results[name] |= training(size, name, device, repetitions)
    return {
        "config": config | {"padded": padded(size), "live_tracks": LIVE_TRACKS},
        "results": results,
        "peak_resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,  # kibibytes on Linux
    }


if __name__ == "__main__":
    run(model_speed, packages=["torchvision"])
