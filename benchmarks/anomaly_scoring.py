"""Time to score an image with MemMC-MAE, as a multiple of one forward pass of its encoder over all patches.

The reference is the same encoder, with its slots, on all patches of the same batch; beside it, timm's ViT of its size.
Scoring is what a detector does with a prepared image: patches, all draws of masks, anomaly map and image score. Weights
are random, which does not change the cost.
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
from mnemic_vision.memmc_mae.draws import Decoded

# ViT-S/16 with the decoder of the shipped configs, and with one whose patches attend to each other.
INDEPENDENT = MemMcMaeConfig(
    dim=384, num_heads=6, decoder_dim=192, decoder_depth=2, decoder_heads=4, levels="uniform4", gates="head",
    decoder_self_attention=False,
)  # fmt: skip
ATTENDING = replace(
    INDEPENDENT, decoder_dim=256, decoder_depth=4, decoder_heads=8, gates="channel", decoder_self_attention=True
)
NETWORKS: dict[str, tuple[MemMcMaeConfig, Decoded]] = {
    "grey, masked patches decoded": (replace(INDEPENDENT, channels=1), "masked"),
    "grey, each patch decoded masked and visible": (replace(INDEPENDENT, channels=1), "both"),
    "color, masked patches decoded": (INDEPENDENT, "masked"),
    "color, each patch decoded masked and visible": (INDEPENDENT, "both"),
    "color, all patches decoded": (INDEPENDENT, "all"),
    "color, attending decoder": (ATTENDING, "all"),
}


def build_vit(config: MemMcMaeConfig) -> VisionTransformer:
    """Return timm's ViT with the encoder's sizes, without memory and without a head."""
    return VisionTransformer(
        config.image_size,
        config.patch_size,
        config.channels,
        embed_dim=config.dim,
        depth=config.depth,
        num_heads=config.num_heads,
        num_classes=0,
    ).eval()


def make_unmasked(model: MemMcMae, images: Tensor) -> Callable[[], Any]:
    """Return what runs the encoder once over all patches."""
    every = torch.arange(model.config.num_patches, device=images.device).expand(len(images), 1, -1)
    return lambda: model.encode(model.target(images), every)


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
    base = times["encoder"]
    return {
        "encoder_ms": round(1000 * base["median_s"] / batch, 2),
        "timm_ms": round(1000 * times["timm"]["median_s"] / batch, 2),
        "by_masks": {
            count: {
                "ratio": round(found["median_s"] / base["median_s"], 3),
                "ratio_of_processor_time": round(found["cpu_s"] / base["cpu_s"], 3),
                "images_per_second": round(batch / found["median_s"], 2),
            }
            for count, found in times.items()
            if count.isdigit()
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
    results: dict[str, Any] = {}
    for name, (config, decode) in NETWORKS.items():
        images = torch.rand(batch, config.channels, 224, 224, device=device)
        model = MemMcMae(config).eval().to(device)
        timm = partial(build_vit(config).to(device).forward_features, images)
        scorings = {str(count): make_scoring(model, images, DrawRule(count, decode)) for count in masks}
        calls = {"encoder": make_unmasked(model, images), "timm": timm, **scorings}
        results[name] = ratios(time_in_turn(calls, repetitions, device), batch)
    return {
        "config": {"batch": batch, "networks": {n: asdict(c) for n, (c, _) in NETWORKS.items()}},
        "results": results,
    }


if __name__ == "__main__":
    run(anomaly_scoring, packages=["timm"])
