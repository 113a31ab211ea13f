from pathlib import Path

import numpy as np
import pytest

from mnemic_track.iou_baseline import track_by_overlap
from mnemic_track.metrics import SequenceResult, evaluate_sequences
from mnemic_track.results import MotRows, read_mot

PETS = Path(__file__).parents[4] / "shared" / "data" / "tracking"


def detections(frames: list[int], boxes: list[list[float]]) -> MotRows:
    return MotRows(np.array(frames, dtype=int), np.full(len(frames), -1), np.array(boxes, dtype=float).reshape(-1, 4))


@pytest.mark.parametrize(("absent", "ids"), [(2, [1, 1]), (3, [1, 2])])
def test_a_track_outlives_its_patience_of_missed_frames(absent: int, ids: list[int]) -> None:
    tracked = track_by_overlap(detections([1, 2 + absent], [[0.0, 0, 10, 10]] * 2), patience=2)
    assert tracked.id.tolist() == ids


def test_a_small_overlap_starts_a_new_track() -> None:
    boxes = [[0.0, 0, 10, 10], [7.0, 0, 10, 10]]
    assert track_by_overlap(detections([1, 2], boxes)).id.tolist() == [1, 2]
    assert track_by_overlap(detections([1, 2], boxes), min_iou=0.1).id.tolist() == [1, 1]


def test_the_sum_of_overlaps_decides_not_the_best_single_pair() -> None:
    boxes = [[0.0, 0, 10, 10], [4.0, 0, 10, 10], [3.0, 0, 10, 10], [6.0, 0, 10, 10]]
    assert track_by_overlap(detections([1, 1, 2, 2], boxes)).id.tolist() == [1, 2, 1, 2]


def test_rows_may_come_in_any_order_and_not_at_all() -> None:
    boxes = [[1.0, 0, 10, 10], [0.0, 0, 10, 10]]
    assert track_by_overlap(detections([2, 1], boxes)).frame.tolist() == [1, 2]
    assert len(track_by_overlap(detections([], [])).id) == 0


@pytest.mark.skipif(not PETS.is_dir(), reason="the PETS data set is not beside the repository")
@pytest.mark.parametrize(
    ("sequence", "mota", "idf1", "id_switches"),
    [("val/PETS09-S2L1-b", 0.831, 0.864, 9), ("train/PETS09-S2L1-a", 0.824, 0.593, 27)],
)
def test_pets_scores_are_those_of_the_data_card(sequence: str, mota: float, idf1: float, id_switches: int) -> None:
    pytest.importorskip("trackeval", reason="needs mnemic-track[metrics]")
    truth = read_mot(PETS / sequence / "gt" / "gt.txt", min_score=0.0)
    tracked = track_by_overlap(read_mot(PETS / sequence / "det" / "det.txt", min_score=0.7))
    scores = evaluate_sequences([SequenceResult(sequence, truth, tracked)])
    assert (round(scores.mota, 3), round(scores.idf1, 3), scores.id_switches) == (mota, idf1, id_switches)
