"""Scoring the images of a file or folder, and the files that this writes."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch

from mnemic_anomaly.checkpoints import NUM_COMPARED, find_checkpoint, note_domain
from mnemic_anomaly.overlay import draw_result, thumbnail
from mnemic_anomaly.page import Entry, make_page
from mnemic_anomaly.scoring import ScoredPicture, score_pictures
from mnemic_kit.atomic_files import atomic_write, writing_together
from mnemic_kit.made_files import check_outputs
from mnemic_kit.output import show, write_text
from mnemic_kit.problems import Problems
from mnemic_vision.memmc_mae import DetectorCheckpoint
from mnemic_vision.picture_files import Picture, find_pictures, read_pictures


@dataclass(frozen=True)
class RunRequest:
    """What a user asks for.

    Attributes:
        source: image or folder of images.
        out: folder for the results.
        checkpoint: weights; None: the shipped ones for such images.
        device: where the network runs.
        title: of the page; None: names the source.
    """

    source: Path
    out: Path
    checkpoint: Path | None
    device: torch.device | str = "cpu"
    title: str | None = None


def run_images(request: RunRequest) -> list[Entry]:
    """Score all images, write ``scores.csv``, ``overlays`` and ``index.html`` together, and return what was found.

    Raises:
        UserError: the only image cannot be read.
        SystemExit: some could not be read, after all others were scored; each was shown as a line.
    """
    problems = Problems()
    check_outputs(request.out / "scores.csv", request.out / "index.html")
    paths = [request.source] if not request.source.is_dir() else find_pictures(request.source)
    root = request.source if request.source.is_dir() else request.source.parent
    some = [picture.pixels for picture in islice(_read(paths, root, Problems()), NUM_COMPARED)]
    if not some:
        list(_read(paths, root, problems))
        problems.end("left out")
    path = find_checkpoint(request.checkpoint, some)
    checkpoint = DetectorCheckpoint.load(path)
    checkpoint.to(request.device)
    warning = note_domain(checkpoint, some)
    pictures = _read(paths, root, problems)
    calibration = checkpoint.calibration
    notes = [f"checkpoint {path.name}", *([warning] if warning else [])]
    threshold = None if calibration is None else calibration.image.threshold
    title = request.title or f"Anomalies in {request.source}"
    with writing_together():
        entries = [_write_overlay(scored, request.out) for scored in score_pictures(checkpoint.detector(), pictures)]
        _write_scores(entries, request.out / "scores.csv")
        write_text(request.out / "index.html", make_page(title, notes, entries, threshold))
    _report(entries, warning, request.out)
    problems.end("left out")
    return entries


def _read(paths: list[Path], root: Path, problems: Problems) -> Iterator[Picture]:
    """Yield all pictures of files, named by their place; a file that cannot be read goes to the problems."""
    for path in paths:
        with problems.collecting():
            for picture in read_pictures(path):
                place = path.relative_to(root).with_name(picture.name)
                yield replace(picture, name=place.as_posix())


def _write_overlay(scored: ScoredPicture, out: Path) -> Entry:
    path = out / "overlays" / f"{scored.picture.name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, "wb") as file:
        draw_result(scored).save(file, "PNG")
    link = path.relative_to(out).as_posix().replace("#", "%23")
    return Entry(scored.picture.name, scored.score, scored.scaled, scored.is_anomalous, thumbnail(scored), link=link)


def _write_scores(entries: list[Entry], path: Path) -> None:
    with atomic_write(path) as file:
        rows = csv.writer(file)
        rows.writerow(("image", "score", "scaled", "label"))
        for entry in sorted(entries, key=lambda entry: -entry.score):
            label = "" if entry.is_anomalous is None else "anomalous" if entry.is_anomalous else "normal"
            scaled = "" if entry.scaled is None else f"{entry.scaled:.4f}"
            rows.writerow((entry.name, f"{entry.score:.6g}", scaled, label))


def _report(entries: list[Entry], warning: str, out: Path) -> None:
    found = sum(entry.is_anomalous is True for entry in entries)
    if warning:
        show(warning)
    show(f"{len(entries)} images, {found} anomalous; page {out / 'index.html'}")
