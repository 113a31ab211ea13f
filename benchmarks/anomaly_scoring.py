"""Time to score an image with MemMC-MAE, as a multiple of one forward pass of its encoder over all patches.

The reference is timm's ViT of the encoder's size on the same batch, without memory and without a head. Scoring is what
a detector does with a prepared image: patches, all draws of masks, anomaly map and image score. Weights are random,
which does not change the cost.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch
from common.report import run
from common.timing import time_in_turn
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from mnemic_core.errors import check_at_least
from mnemic_vision.memmc_mae import DrawRule, MemMcMae, MemMcMaeConfig, ScoreRule, score_pixels

# ViT-S/16 with the decoder of the shipped configs, and with one whose patches attend to each other.
INDEPENDENT = MemMcMaeConfig(
    dim=384, num_heads=6, decoder_dim=192, decoder_depth=2, decoder_heads=4, levels="uniform4", gates="head",
    decoder_self_attention=False,
)  # fmt: skip
ATTENDING = replace(
    INDEPENDENT, decoder_dim=256, decoder_depth=4, decoder_heads=8, gates="channel", decoder_self_attention=True
)
NETWORKS = {
    "independent patches, composite": (INDEPENDENT, True),
    "independent patches": (INDEPENDENT, False),
    "attending patches": (ATTENDING, False),
}


def build_reference(config: MemMcMaeConfig) -> VisionTransformer:
    """Return the ViT with the encoder's sizes."""
    return VisionTransformer(
        config.image_size,
        config.patch_size,
        embed_dim=config.dim,
        depth=config.depth,
        num_heads=config.num_heads,
        num_classes=0,
    ).eval()


def make_scoring(model: MemMcMae, images: Tensor, rule: DrawRule) -> Callable[[], Any]:
    """Return what scores images with a network."""
    draws = rule.make(model.config)
    masked = draws.masked.expand(len(images), -1, -1).to(images.device)

    def score() -> Any:
        reconstruction = model.target.images(draws.reconstruct(model, model.target(images)))
        return score_pixels(images, reconstruction, masked, ScoreRule())

    return score


def ratios(times: Mapping[str, Mapping[str, float]], batch: int) -> dict[str, Any]:
    """Return the times of scoring by number of masks, relative to the reference."""
    base = times["reference"]
    return {
        "reference_ms": round(1000 * base["median_s"] / batch, 2),
        "by_masks": {
            count: {
                "ratio": round(found["median_s"] / base["median_s"], 3),
                "ratio_of_processor_time": round(found["cpu_s"] / base["cpu_s"], 3),
                "images_per_second": round(batch / found["median_s"], 2),
            }
            for count, found in times.items()
            if count != "reference"
        },
    }


@torch.inference_mode()
def anomaly_scoring(
    masks: tuple[int, ...] = (4, 8, 16, 32),
    batch: int = 1,
    repetitions: int = 15,
    threads: int = os.cpu_count() or 1,
    device: str = "cpu",
) -> dict[str, Any]:
    """Measure the time of scoring for several numbers of masks.

    Args:
        masks: numbers of masks, multiples of 4.
        batch: images at once.
        repetitions: turns, whose median counts.
        threads: CPU threads.
        device: cpu or cuda.
    """
    check_at_least(1, batch=batch, repetitions=repetitions, threads=threads)
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    images = torch.rand(batch, 3, 224, 224, device=device)
    results: dict[str, Any] = {}
    for name, (config, composite) in NETWORKS.items():
        model = MemMcMae(config).eval().to(device)
        reference = partial(build_reference(config).to(device).forward_features, images)
        scorings = {str(count): make_scoring(model, images, DrawRule(count, composite)) for count in masks}
        results[name] = ratios(time_in_turn({"reference": reference, **scorings}, repetitions, device), batch)
    return {
        "config": {"batch": batch, "networks": {n: asdict(c) for n, (c, _) in NETWORKS.items()}},
        "results": results,
    }


if __name__ == "__main__":
    run(anomaly_scoring, packages=["timm"])
