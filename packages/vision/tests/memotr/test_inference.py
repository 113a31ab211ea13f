from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mnemic_core import MemoryConfig
from mnemic_vision.memotr import (
    FrameOutput,
    Memotr,
    MemotrConfig,
    Thresholds,
    Tracker,
    TrackState,
    advance,
    build_memotr,
    visible,
)
from mnemic_vision.memotr.output import LayerPrediction
from mnemic_vision.memotr.queries import DetectQueries

Build = Callable[[MemotrConfig], Memotr]
LOW, BELOW, EXACT = 0.1, 0.4999, 0.5


@pytest.fixture
def model(config: MemotrConfig, build: Build) -> Memotr:
    return build(replace(config, num_queries=2, capacity=3, num_classes=2))


def answer(model: Memotr, detect: list[list[float]], track: list[list[float]]) -> FrameOutput:
    """Return an answer with the given scores, by query and class."""
    scores = torch.tensor(detect + track)
    padded = torch.full((model.config.num_queries + model.config.capacity, 2), LOW, dtype=torch.float64)
    padded[: len(scores)] = scores
    queries = len(padded)
    boxes = torch.rand(1, queries, 4) * 0.3 + 0.3
    embeddings = torch.randn(2, 1, queries, model.config.dim)
    # Doubles, so that the sigmoid of the logit of 0.5 is 0.5 again.
    return FrameOutput(
        layers=(LayerPrediction(padded.logit()[None].float(), boxes),),
        hidden=embeddings[0],
        newborn=embeddings[1],
        reference=torch.zeros(1, queries, 4),
        padding=torch.zeros(1, queries, dtype=torch.bool),
        detect=detect_queries(model),
    )


def detect_queries(model: Memotr, batch: int = 1) -> DetectQueries:
    count = model.config.num_queries
    return DetectQueries(torch.zeros(batch, count, model.config.dim), torch.zeros(batch, count, 4))


def step(
    model: Memotr, tracks: TrackState, detect: list[float], track: list[float], thresholds: Thresholds | None = None
) -> TrackState:
    """Advance by a frame whose scores are those of class 0."""
    output = answer(model, [[score, LOW] for score in detect], [[score, LOW] for score in track])
    return advance(model, tracks, output, thresholds or Thresholds(miss_tolerance=2))


def alive(tracks: TrackState) -> list[int]:
    return tracks.ids[tracks.valid].tolist()


def test_a_track_is_born_at_the_threshold_and_not_below(model: Memotr) -> None:
    assert alive(step(model, model.init_tracks(1), [EXACT, BELOW], [])) == [0]


def test_a_track_is_missed_below_the_threshold_and_dies_in_the_last_tolerated_frame(model: Memotr) -> None:
    tracks = step(model, model.init_tracks(1), [0.9, 0.9], [])
    tracks = step(model, tracks, [LOW, LOW], [EXACT, BELOW])
    assert tracks.missed[0, :2].tolist() == [0, 1]
    assert alive(tracks) == [0, 1]
    tracks = step(model, tracks, [LOW, LOW], [0.9, BELOW])
    assert alive(tracks) == [0]


def test_a_recovered_track_counts_misses_from_zero(model: Memotr) -> None:
    tracks = step(model, model.init_tracks(1), [0.9, LOW], [])
    for score in (LOW, 0.9, LOW, 0.9, LOW):
        tracks = step(model, tracks, [LOW, LOW], [score])
        assert alive(tracks) == [0]


def test_what_counts_for_a_miss_is_the_class_at_birth(model: Memotr) -> None:
    tracks = advance(model, model.init_tracks(1), answer(model, [[0.2, 0.8], [LOW, LOW]], []), Thresholds())
    assert tracks.labels[0, 0] == 1
    tracks = advance(model, tracks, answer(model, [[LOW, LOW]] * 2, [[0.9, 0.2]]), Thresholds())
    assert tracks.missed[0, 0] == 1
    assert tracks.labels[0, 0] == 1


def test_identities_are_never_reused(model: Memotr) -> None:
    tracks, seen = model.init_tracks(1), []
    for _ in range(6):
        before = set(alive(tracks))
        tracks = step(model, tracks, [0.9, 0.9], [LOW, LOW, LOW], Thresholds(miss_tolerance=1))
        seen += sorted(set(alive(tracks)) - before)
    assert seen == list(range(12))


def test_a_full_buffer_keeps_its_tracks_and_the_best_newborn(model: Memotr) -> None:
    tracks = step(model, model.init_tracks(1), [0.9, 0.9], [])
    tracks = step(model, tracks, [0.6, 0.8], [0.55, 0.55])
    assert alive(tracks) == [0, 1, 3]
    assert alive(step(model, tracks, [0.99, 0.99], [0.9, 0.9, 0.9])) == [0, 1, 3]


def test_tracks_are_written_only_above_score_and_area(model: Memotr) -> None:
    tracks = step(model, model.init_tracks(1), [0.9, 0.9], [])
    tracks = replace(
        tracks,
        boxes=torch.tensor([[[0.5, 0.5, 0.25, 0.25], [0.5, 0.5, 0.25, 0.275], [0.5, 0.5, 1.0, 1.0]]]),
        logits=torch.tensor([[[2.0, 0.0], [2.0, 0.0], [9.0, 9.0]]]),
    )
    size = torch.tensor([[40.0, 40.0]])
    shown, boxes = visible(tracks, size, Thresholds())
    assert shown.tolist() == [[False, True, False]]  # exactly 100 square pixels; 110; an unused slot
    assert torch.allclose(boxes[0, 1], torch.tensor([15.0, 14.5, 10.0, 11.0]))
    at_threshold = replace(tracks, logits=torch.zeros(1, 3, 2))
    assert not visible(at_threshold, size, Thresholds(min_area=0.0))[0].any()


def test_alone_a_detection_that_overlaps_a_track_or_a_better_one_is_not_born(
    config: MemotrConfig, build: Build
) -> None:
    model = build(replace(config, num_queries=2, capacity=3, num_classes=2, detect_alone=True))
    output = answer(model, [[0.8, LOW], [0.9, LOW]], [])
    output.boxes[0, :2] = torch.tensor([0.5, 0.5, 0.2, 0.2])
    tracks = advance(model, model.init_tracks(1), output, Thresholds())
    assert tracks.scores[0, 0] == pytest.approx(0.9)
    assert alive(tracks) == [0]
    output = answer(model, [[0.9, LOW], [0.9, LOW]], [[0.9, LOW]])
    output.boxes[0, :3] = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.2, 0.2, 0.2, 0.2], [0.51, 0.5, 0.2, 0.2]])
    tracks = advance(model, tracks, output, Thresholds())
    assert alive(tracks) == [0, 1]
    assert torch.equal(tracks.boxes[0, 1], output.boxes[0, 1])


HERE, NEAR, AWAY = [0.5, 0.5, 0.2, 0.2], [0.51, 0.5, 0.2, 0.2], [0.2, 0.2, 0.2, 0.2]  # IoU 0.905 and 0


def missed_track(model: Memotr, detect: list[list[float]], at: list[list[float]]) -> tuple[TrackState, FrameOutput]:
    """Return tracks 0 (HERE) and 1 (AWAY), and an answer that misses track 0 and has the given detections."""
    first = answer(model, [[0.9, LOW], [0.8, LOW]], [])
    first.boxes[0, :2] = torch.tensor([HERE, AWAY])
    tracks = advance(model, model.init_tracks(1), first, Thresholds())
    output = answer(model, detect, [[BELOW, LOW], [0.9, LOW]])
    output.boxes[0, :4] = torch.tensor([*at, HERE, AWAY])
    return tracks, output


def test_alone_a_missed_track_continues_with_the_detection_in_its_place(config: MemotrConfig, build: Build) -> None:
    model = build(replace(config, num_queries=2, capacity=3, num_classes=2, detect_alone=True))
    tracks, output = missed_track(model, [[0.7, LOW], [0.9, LOW]], at=[NEAR, AWAY])
    found = advance(model, tracks, output, Thresholds())
    assert alive(found) == [0, 1]
    assert found.missed[0].tolist() == [0, 0, 0]
    assert torch.equal(found.boxes[0, :2], torch.stack([output.boxes[0, 0], output.boxes[0, 3]]))
    assert found.scores[0, :2].tolist() == pytest.approx([0.7, 0.9])
    assert torch.equal(found.last_output[0, 0], output.hidden[0, 0])
    # Even in the frame in which it would have died.
    assert alive(advance(model, tracks, output, Thresholds(miss_tolerance=1))) == [0, 1]


@pytest.mark.parametrize(
    ("detect", "at", "alone"),
    [
        pytest.param([[LOW, 0.7], [LOW, LOW]], [NEAR, AWAY], True, id="another class"),
        pytest.param([[BELOW, LOW], [LOW, LOW]], [NEAR, AWAY], True, id="an unconfident detection"),
        pytest.param([[0.7, LOW], [LOW, LOW]], [[0.35, 0.5, 0.2, 0.2], AWAY], True, id="too far away"),
        pytest.param([[0.7, LOW], [0.7, LOW]], [NEAR, AWAY], False, id="detect queries that know the tracks"),
    ],
)
def test_a_missed_track_stays_missed_with(
    config: MemotrConfig, build: Build, detect: list[list[float]], at: list[list[float]], alone: bool
) -> None:
    model = build(replace(config, num_queries=2, capacity=5, num_classes=2, detect_alone=alone))
    tracks, output = missed_track(model, detect, at)
    found = advance(model, tracks, output, Thresholds())
    assert found.missed[0, :2].tolist() == [1, 0]
    assert torch.equal(found.boxes[0, 0], output.boxes[0, 2])


def test_two_missed_tracks_do_not_share_a_detection(config: MemotrConfig, build: Build) -> None:
    model = build(replace(config, num_queries=2, capacity=3, num_classes=2, detect_alone=True))
    tracks, output = missed_track(model, [[0.7, LOW], [LOW, LOW]], at=[NEAR, [0.8, 0.8, 0.1, 0.1]])
    output.logits[0, 3] = torch.tensor([LOW, LOW]).logit()
    output.boxes[0, 2:4] = torch.tensor([[0.53, 0.5, 0.2, 0.2], HERE])
    found = advance(model, tracks, output, Thresholds())
    assert found.missed[0, :2].tolist() == [1, 0]
    assert alive(found) == [0, 1]


def test_the_younger_of_two_tracks_on_one_object_is_deleted_on_request(model: Memotr) -> None:
    both = step(model, model.init_tracks(1), [0.9, 0.9], [])
    one_place = answer(model, [[LOW, LOW]] * 2, [[0.6, LOW], [0.9, LOW]])
    one_place.boxes[0, 2:4] = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.51, 0.5, 0.2, 0.2]])  # IoU 0.905
    assert alive(advance(model, both, one_place, Thresholds())) == [0, 1]
    assert alive(advance(model, both, one_place, Thresholds(duplicate_iou=0.95))) == [0, 1]
    assert alive(advance(model, both, one_place, Thresholds(duplicate_iou=0.8))) == [0]
    hidden = answer(model, [[LOW, LOW]] * 2, [[BELOW, LOW], [0.9, LOW]])
    hidden.boxes[0, 2:4] = one_place.boxes[0, 2:4]
    assert alive(advance(model, both, hidden, Thresholds(duplicate_iou=0.8))) == [0, 1]


def test_births_and_deaths_of_streams_are_independent(model: Memotr) -> None:
    quiet, busy = answer(model, [[LOW, LOW]] * 2, []), answer(model, [[0.9, LOW]] * 2, [])
    both = FrameOutput(
        layers=(
            LayerPrediction(*(torch.cat(pair) for pair in ((quiet.logits, busy.logits), (quiet.boxes, busy.boxes)))),
        ),
        **{
            name: torch.cat([getattr(quiet, name), getattr(busy, name)])
            for name in ("hidden", "newborn", "reference", "padding")
        },
        detect=detect_queries(model, batch=2),
    )
    tracks = advance(model, model.init_tracks(2), both, Thresholds())
    assert tracks.valid.sum(dim=1).tolist() == [0, 2]
    assert tracks.next_id.tolist() == [0, 2]


FRAMES = np.random.default_rng(0).integers(0, 256, (6, 48, 64, 3), dtype=np.uint8)


@pytest.fixture
def tracker(config: MemotrConfig, build: Build) -> Tracker:
    return Tracker(build(config), Thresholds(detect=0.6, track=0.5, result=0.5, miss_tolerance=2), 64, 96)


def test_a_stream_saved_and_loaded_continues_identically(tracker: Tracker, tmp_path: Path) -> None:
    expected = [tracker(frame) for frame in FRAMES]
    assert any(expected[3:])
    tracker.reset()
    assert [tracker(frame) for frame in FRAMES[:3]] == expected[:3]
    tracker.save(tmp_path / "stream.state")
    other = Tracker(tracker.model, tracker.thresholds, 64, 96)
    other.load(tmp_path / "stream.state")
    assert [other(frame) for frame in FRAMES[3:]] == expected[3:]


@pytest.mark.parametrize(
    "changes", [{"capacity": 9}, {"memory": MemoryConfig("window")}, {"memory": MemoryConfig()}, {"num_classes": 1}]
)
def test_a_state_of_another_model_is_refused(
    tracker: Tracker, config: MemotrConfig, tmp_path: Path, changes: dict[str, object]
) -> None:
    tracker.save(tmp_path / "stream.state")
    other = Tracker(build_memotr(replace(config, **changes)))
    before = other.state
    name = next(iter(changes))
    with pytest.raises(
        ValueError,
        match=rf"stream\.state is a tracking session of another model .*\(config\.{name}\S* .*, here .*\)",
    ):
        other.load(tmp_path / "stream.state")
    assert other.state is before


def test_a_state_of_other_weights_or_thresholds_is_refused(tracker: Tracker, tmp_path: Path) -> None:
    tracker.save(tmp_path / "stream.state")
    other = Tracker(tracker.model, replace(tracker.thresholds, track=0.4), 64, 96)
    with pytest.raises(ValueError, match=r"other settings \(settings\.thresholds\.track 0\.5, here 0\.4\)"):
        other.load(tmp_path / "stream.state")
    with torch.no_grad():
        tracker.model.detect_queries.anchors[0, 0] += 1
    with pytest.raises(ValueError, match=r"another model or other settings \(weights '\w+"):
        tracker.load(tmp_path / "stream.state")


def test_the_report_of_a_fresh_tracker_has_no_slot_in_use(tracker: Tracker) -> None:
    assert tracker.report().written == 0
    tracker(FRAMES[0])
    assert tracker.report().written == int(tracker.state.valid.sum()) > 0


def test_a_second_video_is_tracked_as_by_a_fresh_tracker(tracker: Tracker, tmp_path: Path) -> None:
    for index, frame in enumerate(FRAMES[:3]):
        Image.fromarray(frame).save(tmp_path / f"{index}.png")
    first, second = ([tracks for _, tracks in tracker.track_video(tmp_path)] for _ in range(2))
    assert any(first)
    assert second == first


def test_a_truncated_or_missing_state_is_refused(tracker: Tracker, tmp_path: Path) -> None:
    path = tmp_path / "stream.state"
    with pytest.raises(FileNotFoundError, match=r"stream\.state"):
        tracker.load(path)
    tracker.save(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"stream\.state is truncated"):
        tracker.load(path)


def test_frames_may_change_their_size_and_boxes_stay_in_pixels_of_the_frame(tracker: Tracker) -> None:
    for height, width in ((48, 64), (96, 40), (200, 300)):
        for track in tracker(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)):
            x, y, w, h = track.box
            assert w * h > 100
            assert 0 <= x + w / 2 <= width
            assert 0 <= y + h / 2 <= height
            assert 0 <= track.label < 2
            assert 0.5 < track.score <= 1


def test_a_blank_frame_is_a_frame(tracker: Tracker) -> None:
    for value in (0, 255):
        assert isinstance(tracker(np.full((48, 64, 3), value, dtype=np.uint8)), list)
    assert all(tensor.isfinite().all() for tensor in tracker.state.tensors().values())


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.zeros((1, 1, 3), np.uint8), "a frame of 1x1 pixels is too small: need 16 at least"),
        (np.zeros((0, 0, 3), np.uint8), "a frame of 0x0 pixels is too small"),
        (np.zeros((48, 64), np.uint8), r"expected an RGB frame.*got \(48, 64\)"),
        (np.zeros((48, 64, 4), np.uint8), r"expected an RGB frame.*got \(48, 64, 4\)"),
        (torch.zeros(48, 64, 3, dtype=torch.uint8), r"expected an RGB frame.*got \(48, 64, 3\)"),
        (torch.full((3, 48, 64), torch.nan), "the frame contains NaN or infinite pixels"),
        (torch.full((3, 48, 64), torch.inf), "the frame contains NaN or infinite pixels"),
        (np.zeros((48, 64, 3), np.int32), r"expected uint8 or floating point pixels, got torch\.int32"),
    ],
)
def test_bad_frames_are_refused_and_the_stream_continues(
    tracker: Tracker, frame: np.ndarray | Tensor, message: str
) -> None:
    tracker(FRAMES[0])
    before = tracker.state
    with pytest.raises(ValueError, match=message):
        tracker(frame)
    assert tracker.state is before


def test_half_precision_runs_with_a_float32_state(tracker: Tracker) -> None:
    tracker.use_bf16 = True
    tracker(FRAMES[0])
    tracker(FRAMES[1])
    assert {tensor.dtype for tensor in tracker.state.tensors().values() if tensor.is_floating_point()} == {
        torch.float32
    }


@pytest.mark.slow
def test_ten_thousand_frames_take_no_more_memory_than_the_first(config: MemotrConfig, build: Build) -> None:
    tracker = Tracker(build(config), Thresholds(detect=0.6, track=0.5, miss_tolerance=2), 64, 64)
    noise = np.random.default_rng(0)
    sizes, resident = set(), []
    for index in range(10_000):
        tracker(noise.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        if index % 500 == 499:
            sizes.add(tracker.state.nbytes)
            resident.append(_resident_bytes())
    assert len(sizes) == 1
    assert int(tracker.state.next_id) > tracker.model.config.capacity
    assert resident[-1] - resident[3] < 2**24  # the allocator has settled by the 2,000th frame


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def test_the_smallest_frames_are_padded_to_a_token_for_each_query() -> None:
    config = MemotrConfig(
        dim=32, ffn_dim=32, num_levels=2, encoder_layers=1, decoder_layers=2, num_queries=40, capacity=4,
        backbone="test_resnet", backbone_levels=2, two_stage=True,
    )  # fmt: skip
    assert config.smallest_side == 96
    tracker = Tracker(build_memotr(config), Thresholds(0.0, 0.0, 0.0, min_area=0.0), short_side=32, long_side=32)
    tracks = tracker(np.zeros((48, 64, 3), dtype=np.uint8))
    assert all(np.isfinite(track.box).all() for track in tracks)
    assert min(track.id for track in tracks) == 1
