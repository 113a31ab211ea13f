"""Ablation of two-stage queries and denoising: detectors on single frames, with all else equal.

Trains the detector stage of ``make train-demo`` with both options, without one of them and without both. Prints the
average precision (IoU 0.5) of the detect queries on the frames of the validation clip, and with two-stage queries that
of the dense head after non-maximum suppression. About 15 minutes per run on one slow core; killed runs are resumed.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common.report import run
from jaxtyping import Float, UInt8
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision
from torchvision.ops import batched_nms, box_convert

from mnemic_kit.configs import find_config
from mnemic_kit.experiment import Comparison, Metric, Run, Scores, Variant
from mnemic_kit.shipping import packaged_weights
from mnemic_track.commands import train
from mnemic_track.options import CONFIGS
from mnemic_track.train_demo import GENERATED
from mnemic_vision.images import pad_images, preprocess_frame
from mnemic_vision.memotr import Memotr
from mnemic_vision.memotr.aids.proposals import ProposedQueries
from mnemic_vision.memotr.checkpoint import TrackerCheckpoint
from mnemic_vision.memotr.data import MotSequences

VARIANTS: dict[str, dict[str, Any]] = {
    "both": {},
    "without denoising": {"denoising_groups": 0},
    "without two-stage": {"two_stage": False},
    "without both": {"two_stage": False, "denoising_groups": 0},
}
METRICS = {
    "queries": Metric("AP of the queries (%)", scale=100.0),
    "dense head": Metric("AP of the dense head (%)", scale=100.0),
}
NMS_IOU = 0.6


def score(run: Run, conditions: Sequence[str], data: Path, every: int) -> Scores:
    """Train or resume one detector, and return the average precisions of its last state."""
    run.fit(train.main)
    found = average_precision(run.checkpoint, data / "val", every)
    return dict.fromkeys(conditions, found)


def fit_options(data: Path, epochs: int) -> list[str]:
    """Return the options of fit that all variants share."""
    sources = f"[{GENERATED % (10, 1)}, {{name: mot, root: {data / 'train'}}}]"
    return [
        *(f"--data.train={sources}", "--data.clip_lengths={0: 1}", "--data.batch_size=4"),
        *(f"--data.val=[{{name: mot, root: {data / 'val'}}}]", "--trainer.limit_val_batches=0"),
        *(f"--trainer.max_epochs={epochs}", f"--model.lr_drops=[{max(1, epochs * 3 // 4)}]"),
        *(f"--model.backbone_weights={packaged_weights()}", "--trainer.enable_progress_bar=false"),
    ]


@torch.inference_mode()
def average_precision(checkpoint: Path, data: Path, every: int) -> dict[str, float]:
    """Return the average precision at IoU 0.5 of the queries and of the dense head, on every ``every``-th frame."""
    loaded = TrackerCheckpoint.load(checkpoint)
    model, settings = loaded.model, loaded.settings
    metrics = {"queries": _metric(), "dense head": _metric()}
    for sequence in MotSequences(data, require_ground_truth=True).sequences:
        for index in range(0, sequence.num_frames, every):
            image = sequence.image(index)
            truth = torch.from_numpy(sequence.target_rows(index).boxes).float()
            found = detect(model, image, settings.short_side, settings.long_side)
            for name, prediction in found.items():
                metrics[name].update([prediction], [{"boxes": truth, "labels": torch.zeros(len(truth), dtype=int)}])
    return {name: float(metric.compute()["map_50"]) for name, metric in metrics.items() if name in found}


def detect(
    model: Memotr, image: UInt8[Tensor, "3 height width"], short_side: int, long_side: int
) -> dict[str, dict[str, Tensor]]:
    """Return boxes in pixels with scores, of the queries and of the dense head if there is one."""
    frame = preprocess_frame(image, short_side, long_side)
    images, padding = pad_images([frame])
    output = model(images, padding, model.init_tracks(1))
    # Boxes are shares of the image without its padding.
    scale = torch.tensor([image.shape[2], image.shape[1]] * 2)
    found = {"queries": _prediction(output.logits[0, : output.num_detect], output.boxes[0, : output.num_detect], scale)}
    if isinstance(output.detect, ProposedQueries):
        dense = _prediction(output.detect.proposals.logits[0], output.detect.proposals.boxes[0], scale)
        boxes = box_convert(dense["boxes"], "xywh", "xyxy")
        # A dense head predicts every object many times.
        kept = batched_nms(boxes, dense["scores"], dense["labels"], NMS_IOU)[:100]
        found["dense head"] = {name: values[kept] for name, values in dense.items()}
    return found


def _prediction(
    logits: Float[Tensor, "query class"], boxes: Float[Tensor, "query 4"], scale: Float[Tensor, "4"]
) -> dict[str, Tensor]:
    scores = logits.sigmoid().amax(-1)
    pixels = box_convert(boxes * scale, "cxcywh", "xywh")
    return {"boxes": pixels, "scores": scores, "labels": torch.zeros(len(scores), dtype=int)}


def _metric() -> MeanAveragePrecision:
    return MeanAveragePrecision(box_format="xywh", iou_thresholds=[0.5])


def detector_options(
    epochs: int = 4,
    seeds: tuple[int, ...] = (0,),
    every: int = 1,
    data: Path = Path("../shared/data/tracking"),
    out: Path = Path("runs/detector_options"),
) -> dict[str, Any]:
    """Train a detector with and without each option, and print its average precision.

    Args:
        epochs: epochs of each training.
        seeds: seeds of each variant.
        every: score every N-th frame.
        data: folder with train and val.
        out: folder of the runs.
    """
    variants = [
        Variant(name, tuple(f"--model.config.{option}={str(value).lower()}" for option, value in chosen.items()))
        for name, chosen in VARIANTS.items()
    ]
    config = find_config("memotr_pets", CONFIGS)
    options = fit_options(data, epochs)
    comparison = Comparison("mnemic-track", out, variants, seeds, METRICS, config, options, settings={"every": every})
    return comparison.run(partial(score, data=data, every=every))


if __name__ == "__main__":
    run(detector_options)
