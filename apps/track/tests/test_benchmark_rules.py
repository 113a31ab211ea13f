"""Scores of complete files equal those of TrackEval itself, which reads and prepares the same files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mnemic_track.metrics import SequenceResult, TrackingScores, evaluate_sequences
from mnemic_track.results import read_mot
from mnemic_track.sequences import ground_truth, results_of
from mnemic_vision.memotr.data import BDD100K_CLASSES, MotSequences, read_bdd100k
from mnemic_vision.tracks import Track

trackeval = pytest.importorskip("trackeval", reason="needs mnemic-track[metrics]")

CLASSES = (1, 1, 1, 2, 3, 6, 7, 8, 9, 12, 13)
FRAMES = 12


def boxes(generator: np.random.Generator, number: int) -> np.ndarray:
    return np.concatenate([generator.uniform(0, 150, (number, 2)), generator.uniform(20, 60, (number, 2))], 1)


def write_world(folder: Path, results: Path, seed: int, *, has_people: bool = True) -> None:
    """Write people and things that move, and tracks of most of them with noise, gaps, switches and false alarms."""
    generator = np.random.default_rng(seed)
    (folder / "img1").mkdir(parents=True)
    (folder / "gt").mkdir()
    start, truth, found = boxes(generator, len(CLASSES)), [], []
    for frame in range(1, FRAMES + 1):
        Image.new("RGB", (200, 200)).save(folder / "img1" / f"{frame:06d}.jpg")
        for identity, (kind, box) in enumerate(zip(CLASSES, start, strict=True), start=1):
            place = box + np.array([2 * frame, frame, 0, 0])
            mark = int(generator.random() < 0.7)
            if kind != 1 or has_people:
                truth.append(f"{frame},{identity},{','.join(f'{side:.3f}' for side in place)},{mark},{kind},1")
            if generator.random() < 0.8:
                seen = place + generator.normal(0, 4, 4)
                name = identity + 50 * int(frame > 6 and identity % 3 == 0)
                found.append(f"{frame},{name},{','.join(f'{side:.3f}' for side in seen)},1,-1,-1,-1")
        false_alarm = boxes(generator, 1)[0]
        found.append(f"{frame},{100 + frame},{','.join(f'{side:.3f}' for side in false_alarm)},1,-1,-1,-1")
    (folder / "gt/gt.txt").write_text("\n".join(truth) + "\n")
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text("\n".join(found) + "\n")


def reference(dataset: Any, names: list[str], classes: tuple[str, ...]) -> dict[str, TrackingScores]:
    """Return what TrackEval's own reading, preparation and metrics make of each sequence, and of all: "all"."""
    metrics = [trackeval.metrics.HOTA(), *(m({"PRINT_CONFIG": False}) for m in (trackeval.metrics.CLEAR,))]
    metrics.append(trackeval.metrics.Identity({"PRINT_CONFIG": False}))
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        raw = dataset.get_raw_seq_data("ours", name)
        for kind in classes:
            data = dataset.get_preprocessed_seq_data(raw, kind)
            key = name if len(classes) == 1 else f"{name}, {kind}"
            found[key] = {type(m).__name__: m.eval_sequence(data) for m in metrics}
    total = {type(m).__name__: m.combine_sequences({k: v[type(m).__name__] for k, v in found.items()}) for m in metrics}
    return {key: scores(parts) for key, parts in (found | {"all": total}).items()}


def scores(parts: Mapping[str, Any]) -> TrackingScores:
    hota, clear, identity = parts["HOTA"], parts["CLEAR"], parts["Identity"]
    means = (float(np.mean(hota[name])) for name in ("HOTA", "DetA", "AssA"))
    return TrackingScores(*means, float(clear["MOTA"]), float(identity["IDF1"]), int(clear["IDSW"]))


def assert_equal(ours: TrackingScores, theirs: dict[str, TrackingScores]) -> None:
    assert ours.sequences.keys() == theirs.keys() - {"all"}
    for name, part in {**ours.sequences, "all": ours}.items():
        assert part.as_dict() == pytest.approx(theirs[name].as_dict(), abs=1e-9), name


@pytest.mark.parametrize("benchmark", ["MOT17", "MOT20"])
def test_tracks_on_distractors_are_not_scored(benchmark: str, tmp_path: Path) -> None:
    names = [f"{benchmark}-{number:02d}" for number in range(5)]
    for seed, name in enumerate(names):
        write_world(tmp_path / "gt" / name, tmp_path / "results/ours/data" / f"{name}.txt", seed, has_people=seed != 3)
    dataset = trackeval.datasets.MotChallenge2DBox(
        {
            "GT_FOLDER": str(tmp_path / "gt"),
            "TRACKERS_FOLDER": str(tmp_path / "results"),
            "BENCHMARK": benchmark,
            "SEQ_INFO": dict.fromkeys(names, FRAMES),
            "SKIP_SPLIT_FOL": True,
            "PRINT_CONFIG": False,
        }
    )
    results = [
        SequenceResult(
            sequence.name,
            ground_truth(sequence),
            read_mot(tmp_path / "results/ours/data" / f"{sequence.name}.txt"),
            sequence.others,
        )
        for sequence in MotSequences(tmp_path / "gt").sequences
    ]
    theirs = reference(dataset, names, ("pedestrian",))
    assert_equal(evaluate_sequences(results), theirs)
    unshielded = [SequenceResult(each.name, each.ground_truth, each.predictions) for each in results]
    assert evaluate_sequences(unshielded).mota < theirs["all"].mota  # the rule matters here


def write_drive(root: Path, name: str, seed: int) -> list[list[Track]]:
    """Write a video with objects, crowds and look-alikes, and return tracks of most of them."""
    generator = np.random.default_rng(seed)
    kinds = ["car", "car", "pedestrian", "rider", "other vehicle", "pedestrian", "car"]
    start = boxes(generator, len(kinds))
    images, truth, found = root / "images/track/val" / name, [], []
    images.mkdir(parents=True)
    for frame in range(FRAMES):
        file = f"{name}-{frame + 1:07d}.jpg"
        Image.new("RGB", (300, 300)).save(images / file)
        labels, tracks = [], []
        for identity, (kind, box) in enumerate(zip(kinds, start, strict=True), start=1):
            x, y, width, height = box + np.array([3 * frame, frame, 0, 0])
            corners = {"x1": x, "y1": y, "x2": x + width, "y2": y + height}
            crowd = {"Crowd": identity == 6, "crowd": identity == 6}
            labels.append({"id": str(identity), "category": kind, "attributes": crowd, "box2d": corners})
            if generator.random() < 0.8:
                seen = np.array([x, y, width, height]) + generator.normal(0, 3, 4)
                wrong = generator.random() < 0.1
                label = BDD100K_CLASSES.index("truck" if wrong or kind == "other vehicle" else kind)
                tracks.append(Track(identity + 50 * int(frame > 6), label, 0.9, tuple(map(float, seen))))
        # TrackEval reads "index" and "Crowd" of the first labels, which were "frameIndex" and "crowd" later.
        truth.append({"name": file, "videoName": name, "index": frame, "frameIndex": frame, "labels": labels})
        found.append(tracks)
    for folder in ("labels/box_track_20/val", "gt"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / f"{name}.json").write_text(json.dumps(truth))
    return found


def test_classes_of_driving_videos_are_scored_apart_and_crowds_shield(tmp_path: Path) -> None:
    names = ["drive0", "drive1"]
    found = {name: write_drive(tmp_path, name, seed) for seed, name in enumerate(names)}
    results = tmp_path / "results/ours/data"
    results.mkdir(parents=True)
    for name, frames in found.items():
        records = json.loads((tmp_path / "gt" / f"{name}.json").read_text())
        for record, tracks in zip(records, frames, strict=True):
            record["labels"] = [
                {
                    "id": str(track.id),
                    "category": BDD100K_CLASSES[track.label],
                    "box2d": {
                        "x1": track.box[0],
                        "y1": track.box[1],
                        "x2": track.box[0] + track.box[2],
                        "y2": track.box[1] + track.box[3],
                    },
                }
                for track in tracks
            ]
        (results / f"{name}.json").write_text(json.dumps(records))
    dataset = trackeval.datasets.BDD100K(
        {
            "GT_FOLDER": str(tmp_path / "gt"),
            "TRACKERS_FOLDER": str(tmp_path / "results"),
            "PRINT_CONFIG": False,
        }
    )
    ours = [
        result
        for sequence in read_bdd100k(tmp_path, "val")
        for result in results_of(sequence, found[sequence.name], BDD100K_CLASSES)
    ]
    assert_equal(evaluate_sequences(ours), reference(dataset, names, BDD100K_CLASSES))


def test_frames_without_annotation_are_not_scored(tmp_path: Path) -> None:
    found = write_drive(tmp_path, "drive", 0)
    path = tmp_path / "labels/box_track_20/val/drive.json"
    path.write_text(json.dumps(json.loads(path.read_text())[::3]))
    (sequence,) = read_bdd100k(tmp_path, "val")
    kept = [tracks if index % 3 == 0 else [] for index, tracks in enumerate(found)]
    scored, expected = (results_of(sequence, frames, BDD100K_CLASSES) for frames in (found, kept))
    assert evaluate_sequences(scored) == evaluate_sequences(expected)


def test_sequences_of_one_name_in_two_sources_are_both_scored(tmp_path: Path) -> None:
    from mnemic_track.datamodule import DataSource, TrackingData

    for source in "ab":
        write_world(tmp_path / source / "street", tmp_path / "unused.txt", seed=ord(source))
    write_world(tmp_path / "b" / "park", tmp_path / "unused.txt", seed=0)
    sources = [DataSource("mot", tmp_path / source) for source in "ab"]
    data = TrackingData(sources, val=sources)
    assert [sequence.name for sequence in data.split("val")] == ["1-street", "park", "2-street"]
