"""What `compare` scores: labeled images and pasted lesions, kept for paired intervals over images."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from mnemic_anomaly.datamodule import AnomalyData
from mnemic_anomaly.evaluation import Evaluation, evaluate_images, paste_lesions
from mnemic_anomaly.images import PreparedImages
from mnemic_anomaly.records import as_record, read_records
from mnemic_kit.experiment import Difference, Metric, Paired, keep_condition, read_conditions
from mnemic_kit.problems import Problems
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
    found = evaluate_images(checkpoint.detector(), samples, Problems())
    keep_condition(folder / FOUND, condition, _as_records(found))
    scores = evaluate_anomalies(found.scored()).as_dict()
    scores["error_ratio"] = _error_ratio(checkpoint, samples)
    if checkpoint.model.config.memory.name != "none":
        emptied = replace(checkpoint, model=checkpoint.model.without_memory())
        of_emptied = evaluate_anomalies(evaluate_images(emptied.detector(), samples, Problems()).scored()).as_dict()
        scores |= {"emptied_auroc": of_emptied["auroc"], "emptied_error_ratio": _error_ratio(emptied, samples)}
    if use := measure_memory_use(checkpoint.model, _images(checkpoint, samples), checkpoint.detector().draws):
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


def _error_ratio(checkpoint: DetectorCheckpoint, samples: Sequence[ImageSample]) -> float | None:
    """Return the mean error of anomalous pixels, relative to that of normal ones; None without masks.

    Of maps that are not standardized, since the mean of those of normal images is 0.
    """
    detector = AnomalyDetector(checkpoint.model, checkpoint.settings)
    images = evaluate_images(detector, samples, Problems()).scored()
    return mean_error_ratio(images.known_pixels) if images.has_pixel_truth else None


def _images(
    checkpoint: DetectorCheckpoint, samples: Sequence[ImageSample]
) -> Iterator[Float[Tensor, "_ channel height width"]]:
    config = checkpoint.model.config
    prepared = PreparedImages(samples, config.image_size, config.channels, in_memory=False)
    return (prepared.batch(start, _BATCH).images for start in range(0, len(prepared), _BATCH))


def _as_records(found: Evaluation) -> list[dict[str, Any]]:
    scored = found.scored()
    values = zip(scored.scores.tolist(), scored.labels.tolist(), found.pixels, strict=True)
    return [as_record(score, label, pixels) for score, label, pixels in values]


def _read(path: Path, condition: str) -> ScoredImages:
    return read_records(read_conditions(path)[condition])
