"""What `compare` scores: labeled images and pasted lesions, kept for paired intervals over images."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from mnemic_anomaly.datamodule import AnomalyData
from mnemic_anomaly.evaluation import paste_lesions
from mnemic_anomaly.images import PreparedImages
from mnemic_anomaly.records import as_record, count_pixels, read_records
from mnemic_kit.experiment import Difference, Metric, Paired, keep_condition, read_conditions
from mnemic_vision.memmc_mae import (
    AnomalyDetector,
    DetectorCheckpoint,
    ScoredImages,
    anomaly_differences,
    evaluate_anomalies,
    mean_error_ratio,
    measure_memory_use,
)
from mnemic_vision.memmc_mae.data import ImageSample

FOUND = "found.json"
_BATCH = 16
METRICS = {
    "auroc": Metric("AUROC (%)", scale=100.0),
    "average_precision": Metric("average precision (%)", scale=100.0),
    "pixel_auroc": Metric("pixel AUROC (%)", scale=100.0),
    "aupro": Metric("AUPRO (%)", scale=100.0),
    "error_ratio": Metric("error in lesions / elsewhere", digits=2),
    "emptied_auroc": Metric("AUROC, memory emptied (%)", None, scale=100.0),
    "emptied_error_ratio": Metric("error ratio, memory emptied", None, digits=2),
    "memory_share": Metric("attention on slots (%)", None, scale=100.0),
    "slots_used": Metric("slots used", None),
    "parameters": Metric("parameters", None, digits=0),
}
LABELED, LESIONS = "labeled", "lesions"
CONDITIONS = (LABELED, LESIONS)


def choose_condition(data: AnomalyData, condition: str) -> list[ImageSample]:
    """Return the images of a condition: those of test, or of val without a test part.

    Returns:
        None of them where the condition does not apply: labeled images need normal and anomalous ones.
    """
    known = [sample for sample in data.samples if sample.label is not None]
    chosen = [sample for sample in known if sample.split == "test"] or [s for s in known if s.split == "val"]
    labels = {sample.label for sample in chosen}
    if condition == LESIONS:
        return paste_lesions(data.samples, chosen, 1) if 0 in labels else []
    return chosen if labels == {0, 1} else []


def score_condition(
    checkpoint: DetectorCheckpoint, samples: Sequence[ImageSample], condition: str, folder: Path
) -> dict[str, float]:
    """Return the scores of a network on images, and keep those of each image in ``found.json``."""
    images = PreparedImages(samples, checkpoint.model.config.image_size, checkpoint.model.config.channels)
    records, scores = _score(checkpoint, images)
    keep_condition(folder / FOUND, condition, records)
    if checkpoint.model.config.memory.name != "none":
        _, of_emptied = _score(replace(checkpoint, model=checkpoint.model.without_memory()), images)
        scores |= {f"emptied_{name}": value for name, value in of_emptied.items()}
    batches = (batch.images for batch in images.batches(_BATCH))
    if use := measure_memory_use(checkpoint.model, batches, checkpoint.detector().draws):
        scores |= {"memory_share": use.share, "slots_used": use.slots}
    scores["parameters"] = float(sum(each.numel() for each in checkpoint.model.parameters() if each.requires_grad))
    return {name: value for name, value in scores.items() if name in METRICS and value is not None}


def pair_images(folder: Callable[[str, int], Path]) -> Paired:
    """Return a function for differences paired over images, in place of those over seeds.

    Args:
        folder: from variant and seed to the folder of the run.
    """

    def paired(condition: str, metric: str, variant: str, baseline: str, seeds: Sequence[int]) -> Difference | None:
        own, other = ([_read(folder(name, seed) / FOUND, condition) for seed in seeds] for name in (variant, baseline))
        found = anomaly_differences(own, other).get(metric)
        if found is None:
            return None
        return Difference(found.difference, found.low, found.high, found.share_first_better, "images")

    return paired


def _score(
    checkpoint: DetectorCheckpoint, images: PreparedImages
) -> tuple[list[dict[str, Any]], dict[str, float | None]]:
    """Return the scores of each image as records, and those of all.

    The ratio of errors is of maps that are not standardized, since the mean of those of normal images is 0.
    """
    detector = checkpoint.detector()
    plain = AnomalyDetector(checkpoint.model, checkpoint.settings)
    records, errors = [], []
    for batch in images.batches(_BATCH):
        made = detector.reconstruct(batch.images)
        scored, raw = detector.score(batch.images, made), plain.score(batch.images, made).map.float()
        for sample, score, own, error in zip(batch.samples, scored.score.tolist(), scored.map, raw, strict=True):
            mask, label = sample.load_mask(), cast(int, sample.label)
            records.append(as_record(score, label, count_pixels(own.float(), mask, label, detector.pixel_threshold)))
            errors.append(count_pixels(error, mask, label))
    scores = evaluate_anomalies(read_records(records)).as_dict()
    known = ScoredImages(np.zeros(len(errors)), np.array([each["label"] for each in records], dtype=np.int64), errors)
    ratio = mean_error_ratio(known.known_pixels) if known.has_pixel_truth else None
    return records, scores | {"error_ratio": ratio}


def _read(path: Path, condition: str) -> ScoredImages:
    return read_records(read_conditions(path)[condition])
