"""``mnemic-anomaly evaluate``: score a checkpoint on labeled images."""

from pathlib import Path

from mnemic_anomaly.options import LesionKind
from mnemic_kit.devices import Device


def evaluate(
    data: Path,
    split: str | None = None,
    lesions: int = 0,
    lesion_contrast: tuple[float, float] = (0.6, 1.4),
    lesion_kinds: tuple[LesionKind, ...] = ("bright", "dark", "blur", "noise", "foreign"),
    checkpoint: Path | None = None,
    baselines: bool = False,
    neighbor_weights: Path | None = None,
    device: Device = "auto",
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Print AUROC, average precision, localization where there are masks, and speed, with 95 % intervals.

    Images or masks that cannot be used are listed at the end, with exit code 2; they do not count. Images that occur in
    two parts of the data are listed too.

    Args:
        data: folder of a data set: normal and anomalous, MVTec, BMAD, index.csv, Hyper-Kvasir, COVIDx or RSNA.
        split: part to evaluate, train, val, test or all; test by default.
        lesions: leave out labeled anomalies, and paste this many lesions into each normal image, one at a time.
        lesion_contrast: least and greatest change of the pixels in a lesion, relative to the variation around each
            pixel of the image: below 0.5 hard to see, above 2 glaring.
        lesion_kinds: what lesions look like.
        checkpoint: weights; by default the shipped ones whose training images resemble these most.
        baselines: evaluate the network with an emptied memory too, and the distance to the nearest normal images and
            to the nearest normal patches in features of a frozen network.
        neighbor_weights: file with weights of tf_efficientnet_lite0 for the neighbors; by default the frozen network of
            the checkpoint, if it has one.
        device: where to run; auto takes a GPU where there is one.
        out: folder for scores.json, a histogram and the page.
        json: print one JSON object as the last line.
    """
    from mnemic_anomaly.evaluating import EvaluationRequest, run_evaluation
    from mnemic_core.errors import check_at_least
    from mnemic_kit.devices import find_device
    from mnemic_kit.made_files import check_outputs
    from mnemic_vision.memmc_mae.data import LesionSettings

    check_at_least(0, **{"--lesions": lesions})
    if out is not None:
        check_outputs(*(out / name for name in ("scores.json", "index.html", "histogram.png")))
    request = EvaluationRequest(
        data,
        split,
        lesions,
        LesionSettings(lesion_kinds, contrast=lesion_contrast),
        checkpoint,
        baselines,
        neighbor_weights,
        find_device(device),
        out,
        json,
    )
    run_evaluation(request)
