"""What `compare` scores: labeled images and pasted lesions, kept for paired intervals over images."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mnemic_anomaly.datamodule import AnomalyData
from mnemic_anomaly.evaluation import Evaluation, evaluate_images, paste_lesions
from mnemic_anomaly.records import as_record, read_records
from mnemic_kit.experiment import Difference, Metric, Paired, keep_condition, read_conditions
from mnemic_kit.problems import Problems
from mnemic_vision.memmc_mae import DetectorCheckpoint, ScoredImages, anomaly_differences, evaluate_anomalies
from mnemic_vision.memmc_mae.data import ImageSample

FOUND = "found.json"
METRICS = {
    "auroc": Metric("AUROC (%)", scale=100.0),
    "average_precision": Metric("average precision (%)", scale=100.0),
    "pixel_auroc": Metric("pixel AUROC (%)", scale=100.0),
    "aupro": Metric("AUPRO (%)", scale=100.0),
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
    number = sum(each.numel() for each in checkpoint.model.parameters() if each.requires_grad)
    known = {name: value for name, value in scores.items() if name in METRICS and value is not None}
    return known | {"parameters": float(number)}


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


def _as_records(found: Evaluation) -> list[dict[str, Any]]:
    scored = found.scored()
    values = zip(scored.scores.tolist(), scored.labels.tolist(), found.pixels, strict=True)
    return [as_record(score, label, pixels) for score, label, pixels in values]


def _read(path: Path, condition: str) -> ScoredImages:
    return read_records(read_conditions(path)[condition])
