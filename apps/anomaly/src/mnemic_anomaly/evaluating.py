"""What ``evaluate`` does: scores of a checkpoint and of baselines, shown and written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mnemic_anomaly.baselines import find_features, neighbor_scores, patch_scores
from mnemic_anomaly.checkpoints import find_checkpoint, note_domain
from mnemic_anomaly.evaluation import Evaluation, choose_images, evaluate_images, load_some, paste_lesions
from mnemic_anomaly.evaluation_report import Figures, describe, show_scores, summarize, write_evaluation
from mnemic_kit.output import show, show_json
from mnemic_kit.problems import Problems
from mnemic_vision.memmc_mae import DetectorCheckpoint
from mnemic_vision.memmc_mae.data import ImageSample, LesionSettings, find_duplicates, open_images


@dataclass(frozen=True)
class EvaluationRequest:
    """What a user asks for.

    Attributes:
        data: folder of a data set.
        split: part to evaluate; None: test.
        lesions: number of lesions that are pasted into each normal image, in place of labeled anomalies; 0: none.
        settings: of these lesions.
        checkpoint: weights; None: the shipped ones for such images.
        baselines: evaluate baselines on the same images.
        neighbor_weights: of the frozen network of the neighbors; None: that of the checkpoint.
        device: where the network runs.
        out: folder for the results; None: nothing is written.
        as_json: print one JSON object as the last line.
    """

    data: Path
    split: str | None = None
    lesions: int = 0
    settings: LesionSettings = LesionSettings()
    checkpoint: Path | None = None
    baselines: bool = False
    neighbor_weights: Path | None = None
    device: torch.device | str = "cpu"
    out: Path | None = None
    as_json: bool = False


def run_evaluation(request: EvaluationRequest) -> None:
    """Score the images, show and write what was found.

    Raises:
        SystemExit: some could not be used; each was shown as a line.
    """
    problems = Problems()
    samples = open_images("auto", request.data)
    chosen = choose_images(samples, request.split)
    if request.lesions:
        chosen = paste_lesions(samples, chosen, request.lesions, request.settings)
    path, trained = _load(request, chosen)
    result = evaluate_images(trained.detector(), chosen, problems, draws=request.out is not None)
    if not result.samples:
        problems.end("left out")
    rows = {"network": describe(result.scored(), result.seconds)}
    if request.baselines:
        rows |= _score_baselines(request, trained, samples, result)
    duplicates = [str(each) for each in find_duplicates(samples)]
    summary = summarize(rows) | {
        "data": str(request.data),
        "split": request.split or "test",
        "lesions": request.lesions,
        "lesion_contrast": list(request.settings.contrast) if request.lesions else None,
        "checkpoint": path.name,
        "duplicates": duplicates,
        "num_problems": len(problems.found),
    }
    show_scores(rows, duplicates)
    if request.out is not None:
        write_evaluation(request.out, summary, result, trained.calibration)
    problems.show("left out")
    if request.as_json:
        show_json(summary)
    problems.exit_on_any()


def _load(request: EvaluationRequest, chosen: Sequence[ImageSample]) -> tuple[Path, DetectorCheckpoint]:
    """Return the checkpoint for these images, after a warning where they do not resemble its training images."""
    some = load_some(chosen)
    path = find_checkpoint(request.checkpoint, some)
    trained = DetectorCheckpoint.load(path)
    trained.to(request.device)
    if warning := note_domain(trained, some):
        show(warning)
    return path, trained


def _score_baselines(
    request: EvaluationRequest, trained: DetectorCheckpoint, samples: Sequence[ImageSample], result: Evaluation
) -> dict[str, Figures]:
    """Return the figures of the same network without its memory, and of nearest neighbors, on the same images."""
    emptied = replace(trained, model=trained.model.without_memory()).detector()
    other = evaluate_images(emptied, result.samples, Problems())
    rows = {"memory emptied": describe(other.scored(), other.seconds)}
    features = find_features(trained, request.neighbor_weights)
    if features is None:
        show("nearest neighbors left out: the checkpoint has no frozen network; give --neighbor_weights")
        return rows
    rows["nearest images"] = describe(*neighbor_scores(features, samples, result.samples))
    rows["nearest patches"] = describe(*patch_scores(features, samples, result.samples))
    return rows
