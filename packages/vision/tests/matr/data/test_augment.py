from dataclasses import fields, replace
from math import pi
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from mnemic_core.errors import UserError
from mnemic_vision.matr.actions import Action
from mnemic_vision.matr.data import ActionStream, InputConfig, StreamAugmentation, read_annotated_streams
from mnemic_vision.matr.data.augment import mirror, resample, rotate

STRENGTHS = [field.name for field in fields(StreamAugmentation)]
OFF = StreamAugmentation(**dict.fromkeys(STRENGTHS, 0.0))
ORDER = replace(OFF, shuffle=1.0, mix=0.5, drop=0.2, speed=0.4)


def marked_stream(first: int, num_frames: int = 120) -> ActionStream:
    """Six channels that hold the number of the action they belong to, 0 when idle; one action every 3 seconds."""
    frames, actions = np.zeros((num_frames, 6), np.float32), []
    for number in range(num_frames // 30):
        frames[30 * number + 5 : 30 * number + 25] = first + number
        actions.append(Action(str(first + number), 3.0 * number + 0.5, 3.0 * number + 2.5))
    return ActionStream.of_frames(f"s{first}", frames, tuple(actions), 0.1)


STREAMS = [marked_stream(1), marked_stream(11), marked_stream(21)]


@pytest.mark.parametrize("epoch", range(10))
def test_actions_go_with_their_frames(epoch: int) -> None:
    changed = ORDER(STREAMS, "plain", index=1, epoch=epoch)
    frames = changed.load()
    for action in changed.actions:
        start, end = action.start / 0.1, action.end / 0.1
        assert_allclose(frames[int(np.ceil(start)) + 1 : int(end) - 1], float(action.label), rtol=1e-6)
        assert 20 / 1.45 <= end - start <= 20 * 1.45
    inside = sum(int(action.end / 0.1) - int(action.start / 0.1) for action in changed.actions)
    assert abs(np.count_nonzero(frames[:, 0]) - inside) <= 2 * len(changed.actions)


def test_pieces_of_other_streams_are_mixed_in() -> None:
    labels = {
        int(action.label) // 10
        for epoch in range(5)
        for action in ORDER(STREAMS, "plain", index=0, epoch=epoch).actions
    }
    assert labels == {0, 1, 2}


def test_nothing_changes_when_all_is_off() -> None:
    same = OFF(STREAMS, "sensor", index=2, epoch=4)
    assert_array_equal(same.load(), STREAMS[2].load())
    assert [action.label for action in same.actions] == [action.label for action in STREAMS[2].actions]
    assert_allclose([each.end for each in same.actions], [each.end for each in STREAMS[2].actions])


def test_changes_depend_on_seed_epoch_and_index_alone() -> None:
    augmentation = StreamAugmentation()
    results = [
        augmentation(STREAMS, "sensor", index=i, epoch=e, seed=s).load().sum()
        for i, e, s in [(0, 0, 0), (0, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0)]
    ]
    assert results[0] == results[1]
    assert len(set(results)) == 4


def test_resampled_frames_lie_on_the_line() -> None:
    line = np.arange(20, dtype=np.float32)[:, None]
    for length in (7, 20, 33):
        expected = np.minimum(np.arange(length) * 20 / length, 19)
        assert_allclose(resample(line, length)[:, 0], expected, rtol=1e-6)


@pytest.mark.parametrize(("kind", "width"), [("skeleton", 60), ("sensor", 6)])
def test_a_mirror_twice_is_none(kind: str, width: int) -> None:
    frames = np.random.default_rng(0).normal(size=(4, width)).astype(np.float32)
    assert not np.array_equal(mirror(frames, kind), frames)  # type: ignore[arg-type]
    assert_array_equal(mirror(mirror(frames, kind), kind), frames)  # type: ignore[arg-type]


def test_a_mirrored_sensor_still_obeys_the_turn_of_gravity() -> None:
    """In a turning frame a fixed direction g changes by -w x g, on either wrist."""
    gravity, turn = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    change = -np.cross(turn, gravity)
    mirrored = mirror(np.concatenate([gravity, turn], axis=1), "sensor")
    assert_allclose(-np.cross(mirrored[:, 3:], mirrored[:, :3]), change * [-1, 1, 1], atol=1e-6)


def test_rotation_about_the_vertical_keeps_heights_and_lengths() -> None:
    frames = np.random.default_rng(0).normal(size=(4, 9)).astype(np.float32)
    turned = rotate(frames, np.array([0.0, 2.0, 0.0]), pi / 2)
    expected = np.stack([frames[:, 2::3], frames[:, 1::3], -frames[:, 0::3]], axis=-1).reshape(4, 9)
    assert_allclose(turned, expected, atol=1e-6)


def test_a_turned_skeleton_has_turned_features() -> None:
    config = InputConfig("skeleton", channels=60, differences=True)
    frames = np.random.default_rng(0).uniform(0, 0.1, size=(5, 60)).astype(np.float32)
    axis = np.array([0.0, 1.0, 0.0])
    features = [config.to_features(torch.from_numpy(each)).numpy() for each in (frames, rotate(frames, axis, 0.7))]
    assert_allclose(features[1], rotate(features[0], axis, 0.7), atol=1e-5)


def test_a_faster_sensor_turns_faster() -> None:
    turn = np.ones((120, 6), np.float32)
    stream = ActionStream.of_frames("turn", turn, (), 0.1)
    changed = replace(OFF, speed=0.5)([stream], "sensor", index=0, epoch=1).load()
    assert len(changed) != 120
    assert_allclose(changed[:, 3:].sum(axis=0), 120, rtol=1e-5)  # the angle in the end
    assert_array_equal(changed[:, :3], 1)


def test_idle_time_is_cut_around_the_actions_alone() -> None:
    trimmed = replace(OFF, shuffle=1.0, idle=1.0)(STREAMS, "plain", index=0)
    assert trimmed.num_frames < STREAMS[0].num_frames
    assert np.count_nonzero(trimmed.load()[:, 0]) == np.count_nonzero(STREAMS[0].load()[:, 0])
    for action in trimmed.actions:
        assert_allclose(trimmed.load()[round(action.start / 0.1) : round(action.end / 0.1)], float(action.label))


def test_other_proportions_keep_the_hip_and_the_directions_of_the_axes() -> None:
    frames = np.random.default_rng(0).normal(size=(7, 60)).astype(np.float32)
    stream = ActionStream.of_frames("s", frames, (), 0.1)
    changed = replace(OFF, proportions=0.1)([stream], "skeleton", index=0).load()
    before, after = (each.reshape(7, 20, 3) - each.reshape(7, 20, 3)[:, :1] for each in (frames, changed))
    assert_allclose(changed[:, :3], frames[:, :3])
    factors = after[:, 1:] / before[:, 1:]
    assert_allclose(factors, np.broadcast_to(factors[:1], factors.shape), rtol=1e-3)
    assert 0.5 < factors.min() < 0.95 < 1.05 < factors.max() < 2


def test_unknown_sides_are_refused() -> None:
    with pytest.raises(UserError, match="60 channels, got 6: set mirror to 0"):
        mirror(np.zeros((2, 6), np.float32), "skeleton")


@pytest.mark.parametrize("settings", [{"drop": 1.5}, {"speed": -0.1}, {"noise": float("nan")}])
def test_impossible_strengths_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(settings))):
        StreamAugmentation(**settings)


SHARED = Path(__file__).parents[6] / "shared/data"
needs_recordings = pytest.mark.skipif(not (SHARED / "actions_watch").is_dir(), reason="needs the shared recordings")


@needs_recordings
def test_a_mirrored_body_keeps_its_left_on_the_left() -> None:
    stream = read_annotated_streams(SHARED / "actions_utkinect", "val").streams[0]
    for frames in (stream.load(), mirror(stream.load(), "skeleton")):
        across = np.median(frames[:, 0::3] - frames[:, :1], axis=0)
        assert across[[4, 5, 6, 12, 13, 14]].max() < 0 < across[[8, 9, 10, 16, 17, 18]].min()


@needs_recordings
def test_a_mirrored_sensor_measures_what_one_at_the_other_wrist_does() -> None:
    """Gravity lies along x in many exercises, with the other sign at the other wrist."""
    streams = read_annotated_streams(SHARED / "actions_watch")
    sides = [np.concatenate([each.load() for each in streams if f"_{side}_" in each.name]) for side in (0, 1)]
    left, mirrored, right = (each.mean(axis=0) for each in (sides[0], mirror(sides[0], "sensor"), sides[1]))
    assert np.abs(mirrored - right).max() < 0.3 < 1 < np.abs(left - right).max()
