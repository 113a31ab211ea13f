"""The result of an evaluation of anomaly detection."""

from dataclasses import dataclass

from mnemic_vision.intervals import Interval


@dataclass(frozen=True)
class ImageScores:
    """How well image scores separate anomalous from normal images; intervals are from resampled images.

    All are None without normal or without anomalous images.

    Attributes:
        normal: normal images.
        anomalous: anomalous images.
        auroc: area under the ROC curve; 0.5 is chance.
        average_precision: area under the curve of precision over recall; the share of anomalous images is chance.
        f1_max: largest F1 over all thresholds, which is optimistic: the threshold is chosen on the same images.
        f1_threshold: that threshold; scores at or above it are anomalous.
        fpr_at_95_tpr: share of the normal images above the highest threshold that finds 95 % of the anomalous ones.
    """

    normal: int
    anomalous: int
    auroc: Interval | None = None
    average_precision: Interval | None = None
    f1_max: Interval | None = None
    f1_threshold: float | None = None
    fpr_at_95_tpr: Interval | None = None

    def as_dict(self) -> dict[str, float | None]:
        """Return the numbers by name, as JSON takes them; intervals have ``_low`` and ``_high``."""
        intervals = {
            "auroc": self.auroc,
            "average_precision": self.average_precision,
            "f1_max": self.f1_max,
            "fpr_at_95_tpr": self.fpr_at_95_tpr,
        }
        return {
            **_flatten(intervals),
            "f1_threshold": self.f1_threshold,
            "normal_images": self.normal,
            "anomalous_images": self.anomalous,
        }


@dataclass(frozen=True)
class PixelScores:
    """How well anomaly maps localize anomalies; intervals are from resampled images.

    Attributes:
        images: with ground truth.
        regions: connected anomalous regions in them.
        auroc: area under the ROC curve of all pixels.
        aupro: mean share of a region that is found, averaged over false-positive rates of pixels up to 0.3.
        f1_max: largest F1 of pixels over all thresholds, chosen on the same images.
        f1_threshold: that threshold; it has the largest intersection over union, too.
        best_iou: intersection over union there, of the pixels of all images together.
        iou: the same at a threshold that was given; None without one.
    """

    images: int
    regions: int
    auroc: Interval
    aupro: Interval
    f1_max: Interval
    f1_threshold: float
    best_iou: Interval
    iou: Interval | None

    def as_dict(self) -> dict[str, float | None]:
        """Return the numbers by name, as JSON takes them; intervals have ``_low`` and ``_high``."""
        intervals = {
            "pixel_auroc": self.auroc,
            "aupro": self.aupro,
            "pixel_f1_max": self.f1_max,
            "best_iou": self.best_iou,
            "iou": self.iou,
        }
        return {
            **_flatten(intervals),
            "pixel_f1_threshold": self.f1_threshold,
            "images_with_masks": self.images,
            "regions": self.regions,
        }


def _flatten(intervals: dict[str, Interval | None]) -> dict[str, float | None]:
    numbers: dict[str, float | None] = {}
    for name, each in intervals.items():
        numbers[name] = None if each is None else each.value
        numbers[f"{name}_low"] = None if each is None else each.low
        numbers[f"{name}_high"] = None if each is None else each.high
    return numbers
