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
    from dataclasses import replace

    from mnemic_anomaly import evaluation as found
    from mnemic_anomaly.checkpoints import find_checkpoint, note_domain
    from mnemic_anomaly.evaluation_report import describe, show_scores, summarize, write_evaluation
    from mnemic_core.errors import check_at_least
    from mnemic_kit.devices import find_device
    from mnemic_kit.made_files import check_outputs
    from mnemic_kit.output import show, show_json
    from mnemic_kit.problems import Problems
    from mnemic_vision.memmc_mae import DetectorCheckpoint
    from mnemic_vision.memmc_mae.data import LesionSettings, find_duplicates, open_images

    check_at_least(0, **{"--lesions": lesions})
    if out is not None:
        check_outputs(*(out / name for name in ("scores.json", "index.html", "histogram.png")))
    problems = Problems()
    samples = open_images("auto", data)
    chosen = found.choose_images(samples, split)
    if lesions:
        chosen = found.paste_lesions(samples, chosen, lesions, LesionSettings(lesion_kinds, contrast=lesion_contrast))
    some = found.load_some(chosen)
    path = find_checkpoint(checkpoint, some)
    trained = DetectorCheckpoint.load(path)
    trained.to(find_device(device))
    if warning := note_domain(trained, some):
        show(warning)
    result = found.evaluate_images(trained.detector(), chosen, problems, draws=out is not None)
    if not result.samples:
        problems.end("left out")
    rows = {"network": describe(result.scored(), result.seconds)}
    if baselines:
        emptied = replace(trained, model=trained.model.without_memory()).detector()
        other = found.evaluate_images(emptied, result.samples, Problems())
        rows["memory emptied"] = describe(other.scored(), other.seconds)
        features = found.find_features(trained, neighbor_weights)
        if features is None:
            show("nearest neighbors left out: the checkpoint has no frozen network; give --neighbor_weights")
        else:
            side = found.NEIGHBOR_SIDE
            rows["nearest images"] = describe(*found.neighbor_scores(features, samples, result.samples, side))
            rows["nearest patches"] = describe(*found.patch_scores(features, samples, result.samples, side))
    duplicates = [str(each) for each in find_duplicates(samples)]
    summary = summarize(rows) | {
        "data": str(data),
        "split": split or "test",
        "lesions": lesions,
        "checkpoint": path.name,
        "duplicates": duplicates,
        "num_problems": len(problems.found),
    }
    show_scores(rows, duplicates)
    if out is not None:
        write_evaluation(out, summary, result, trained.calibration)
    problems.show("left out")
    if json:
        show_json(summary)
    problems.exit_on_any()
