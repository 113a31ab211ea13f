import subprocess
import sys
from itertools import permutations
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from mnemic_core.errors import UserError
from mnemic_track.metrics import SequenceResult, TrackingScores, evaluate_sequences
from mnemic_track.overlaps import iou_xywh
from mnemic_track.results import MotRows

pytest.importorskip("trackeval", reason="needs mnemic-track[metrics]")

Row = tuple[int, int, float, float, float, float]  # frame, id, x, y, width, height


def rows(*values: Row) -> MotRows:
    table = np.array(values, dtype=float).reshape(-1, 6)
    return MotRows(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:])


def walk(identity: int, frames: range, x: float = 0.0) -> list[Row]:
    return [(frame, identity, x + frame, 5.0, 10.0, 20.0) for frame in frames]


def score(truth: list[Row], found: list[Row]) -> TrackingScores:
    return evaluate_sequences([SequenceResult("walk", rows(*truth), rows(*found))])


def test_one_switch_after_half_of_ten_perfect_frames_scores_as_the_reference() -> None:
    found = walk(1, range(1, 6)) + walk(2, range(6, 11))
    scores = score(walk(1, range(1, 11)), found)
    expected = {"hota": sqrt(0.5), "deta": 1.0, "assa": 0.5, "mota": 0.9, "idf1": 0.5, "id_switches": 1}
    assert scores.as_dict() == pytest.approx(expected, abs=1e-9)


def test_perfect_tracks_score_one_with_any_ids() -> None:
    truth = walk(1, range(1, 4)) + walk(2, range(2, 5), x=100.0)
    found = [(frame, {1: 10**12, 2: -7}[identity], *box) for frame, identity, *box in reversed(truth)]
    perfect = {"hota": 1.0, "deta": 1.0, "assa": 1.0, "mota": 1.0, "idf1": 1.0, "id_switches": 0}
    assert score(truth, found).as_dict() == perfect


def test_boxes_of_half_overlap_count_up_to_their_threshold() -> None:
    # IoU 3/5 passes the 12 thresholds 0.05 ... 0.60 of 19; CLEAR and identity ask for 0.5.
    scores = score([(1, 1, 0, 0, 4, 4)], [(1, 1, 1, 0, 4, 4)])
    assert scores.hota == pytest.approx(12 / 19)
    assert (scores.mota, scores.idf1) == (1, 1)


def test_no_predictions_score_zero_without_switches() -> None:
    assert set(score(walk(1, range(1, 4)), []).as_dict().values()) == {0}


@pytest.mark.parametrize("found", [[], walk(1, range(1, 4))])
def test_without_ground_truth_every_score_is_zero(found: list[Row]) -> None:
    assert set(score([], found).as_dict().values()) == {0}


def test_false_positives_of_a_sequence_without_objects_count_in_the_total() -> None:
    good = SequenceResult("good", rows(*walk(1, range(1, 5))), rows(*walk(1, range(1, 5))))
    ghosts = SequenceResult("ghosts", rows(), rows((1, 1, 0, 0, 5, 5)))
    scores = evaluate_sequences([good, ghosts])
    assert scores.mota == pytest.approx((4 - 1) / 4)
    assert scores.deta == pytest.approx(4 / 5)
    assert scores.idf1 == pytest.approx(8 / 9)
    assert scores.sequences["good"].mota == 1
    assert scores.sequences["ghosts"].hota == 0


def test_a_longer_sequence_weighs_more() -> None:
    long = SequenceResult("long", rows(*walk(1, range(1, 10))), rows(*walk(1, range(1, 10))))
    lost = SequenceResult("lost", rows(*walk(1, range(1, 2))), rows())
    scores = evaluate_sequences([long, lost])
    assert scores.mota == pytest.approx(0.9)
    assert scores.sequences["long"].mota == 1
    assert scores.sequences["lost"].mota == 0


def crossing(seed: int) -> tuple[list[Row], list[Row]]:
    """Three objects over eight frames, found with shifts, misses, switches and false alarms."""
    generator = np.random.default_rng(seed)
    truth = [
        (frame, identity, 8.0 * identity + frame * (2 - identity), 0.0, 10.0, 10.0)
        for frame in range(1, 9)
        for identity in (1, 2, 3)
        if generator.random() < 0.9
    ]
    found = []
    for frame, identity, x, y, width, height in truth:
        if generator.random() < 0.85:
            switched = identity + 3 * int(frame > 5) if identity != 2 else 2
            found.append((frame, switched, x + generator.normal(0, 2), y, width, height))
    found += [(frame, 9, 60.0, 0.0, 10.0, 10.0) for frame in (2, 3)]
    return truth, found


def overlap(first: Row, second: Row) -> float:
    """IoU of two boxes, written out."""
    (x1, y1, w1, h1), (x2, y2, w2, h2) = first[2:], second[2:]
    width = max(0.0, min(x1 + w1, x2 + w2) - max(x1, x2))
    height = max(0.0, min(y1 + h1, y2 + h2) - max(y1, y2))
    return width * height / (w1 * h1 + w2 * h2 - width * height)


def frames_of(truth: list[Row], found: list[Row]) -> list[tuple[list[Row], list[Row]]]:
    numbers = sorted({row[0] for row in truth + found})
    return [([row for row in truth if row[0] == n], [row for row in found if row[0] == n]) for n in numbers]


def naive_hota(truth: list[Row], found: list[Row]) -> tuple[float, float, float]:
    """HOTA, DetA and AssA from their definitions: one matching, then counts at each threshold."""
    truth_count = {i: sum(row[1] == i for row in truth) for i in {row[1] for row in truth}}
    found_count = {i: sum(row[1] == i for row in found) for i in {row[1] for row in found}}
    shared = dict.fromkeys(((i, j) for i in truth_count for j in found_count), 0.0)
    for left, right in frames_of(truth, found):
        for a in left:
            for b in right:
                union = sum(overlap(a, other) for other in right) + sum(overlap(other, b) for other in left)
                shared[a[1], b[1]] += overlap(a, b) / (union - overlap(a, b)) if overlap(a, b) else 0.0
    pairs = []
    for left, right in frames_of(truth, found):
        weight = np.zeros((len(left), len(right)))
        for i, a in enumerate(left):
            for j, b in enumerate(right):
                common = shared[a[1], b[1]]
                weight[i, j] = common / (truth_count[a[1]] + found_count[b[1]] - common) * overlap(a, b)
        pairs += [(left[i], right[j]) for i, j in zip(*linear_sum_assignment(weight, maximize=True), strict=True)]
    scores = []
    for threshold in np.arange(1, 20) / 20:
        hits = [(a[1], b[1]) for a, b in pairs if overlap(a, b) >= threshold - 1e-12]
        detection = len(hits) / (len(truth) + len(found) - len(hits))
        shares = [hits.count(p) / (truth_count[p[0]] + found_count[p[1]] - hits.count(p)) for p in hits]
        association = sum(shares) / max(1, len(hits))
        scores.append((sqrt(detection * association), detection, association))
    hota, detection, association = np.mean(scores, axis=0)
    return float(hota), float(detection), float(association)


def naive_mota(truth: list[Row], found: list[Row]) -> tuple[float, int]:
    """MOTA and switches at IoU 0.5; a pair of the frame before is kept while it overlaps."""
    last: dict[int, int] = {}
    before: dict[int, int] = {}
    hits = switches = 0
    for left, right in frames_of(truth, found):
        weight = np.array([[overlap(a, b) for b in right] for a in left]).reshape(len(left), len(right))
        kept = np.array([[before.get(a[1]) == b[1] for b in right] for a in left]).reshape(weight.shape)
        weight = np.where(weight >= 0.5, weight + 1000 * kept, 0)
        matched = zip(*linear_sum_assignment(weight, maximize=True), strict=True)
        now = {left[i][1]: right[j][1] for i, j in matched if weight[i, j] > 0}
        hits += len(now)
        switches += sum(last.get(i, j) != j for i, j in now.items())
        last |= now
        before = now
    return (hits - (len(found) - hits) - switches) / len(truth), switches


def naive_idf1(truth: list[Row], found: list[Row]) -> float:
    """IDF1 at IoU 0.5: the best of all one-to-one assignments of identities."""
    truth_ids, found_ids = sorted({row[1] for row in truth}), sorted({row[1] for row in found})
    found_ids += [-1] * len(truth_ids)  # an object may stay without a partner
    frames = frames_of(truth, found)
    common = {
        (i, j): sum(
            any(a[1] == i and b[1] == j and overlap(a, b) >= 0.5 for a in left for b in right) for left, right in frames
        )
        for i in truth_ids
        for j in set(found_ids)
    }
    choices = permutations(found_ids, len(truth_ids))
    best = max(sum(common[i, j] for i, j in zip(truth_ids, choice, strict=True)) for choice in choices)
    return 2 * best / (len(truth) + len(found))


@pytest.mark.parametrize("seed", range(3))
def test_random_tracks_score_as_the_definitions_written_out(seed: int) -> None:
    truth, found = crossing(seed)
    scores = score(truth, found)
    assert 0.2 < scores.hota < 0.95
    assert (scores.hota, scores.deta, scores.assa) == pytest.approx(naive_hota(truth, found))
    assert (scores.mota, scores.id_switches) == pytest.approx(naive_mota(truth, found))
    assert scores.idf1 == pytest.approx(naive_idf1(truth, found))


def test_iou_of_pairs_is_that_of_single_boxes_and_zero_without_area() -> None:
    boxes = np.array([[0.0, 0, 4, 4], [2.0, 1, 4, 4], [1.0, 1, 0, 0]])
    single = [[overlap((1, 1, *a), (1, 1, *b)) for b in boxes[:2]] for a in boxes[:2]]
    np.testing.assert_allclose(iou_xywh(boxes, boxes)[:2, :2], single)
    assert (iou_xywh(boxes, boxes)[2] == 0).all()
    assert iou_xywh(boxes[:0], boxes).shape == (0, 3)


def test_an_id_twice_in_a_frame_is_named() -> None:
    with pytest.raises(ValueError, match=r"predictions of walk: id 3 occurs twice in frame 2"):
        score(walk(1, range(1, 3)), walk(3, range(1, 3)) + walk(3, range(2, 3), x=50.0))


def test_sequences_need_different_names() -> None:
    with pytest.raises(ValueError, match="at least one sequence"):
        evaluate_sequences([])
    with pytest.raises(ValueError, match=r"different names, got \['a', 'a'\]"):
        evaluate_sequences([SequenceResult("a", rows(), rows())] * 2)


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackeval", None)
    monkeypatch.setitem(sys.modules, "trackeval.metrics", None)
    with pytest.raises(UserError, match=r"pip install 'mnemic-track\[metrics\]'"):
        score(walk(1, range(1, 3)), walk(1, range(1, 3)))


BARE = """
import sys
sys.modules["cv2"] = sys.modules["matplotlib"] = None
import numpy as np
from mnemic_track.metrics import SequenceResult, evaluate_sequences
from mnemic_track.results import MotRows
assert "trackeval" not in sys.modules
rows = MotRows(np.array([1]), np.array([1]), np.ones((1, 4)))
evaluate_sequences([SequenceResult("a", rows, rows)])
"""


def test_evaluation_prints_nothing_and_needs_neither_opencv_nor_matplotlib(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
