from itertools import pairwise

import numpy as np
import pytest

from mnemic_vision.matr.actions import Action
from mnemic_vision.matr.data import ActionStream, GeneratedActions, shuffle_order
from mnemic_vision.matr.data.pieces import cut_at_idle, join_pieces

WIDTH = 6


def marked_stream(spans: list[tuple[int, int]], num_frames: int = 100) -> ActionStream:
    """Frames that hold the number of the action (from 1) they belong to, and 0 when idle; 5 frames a second."""
    frames = np.zeros((num_frames, WIDTH), np.float32)
    actions = []
    for number, (start, end) in enumerate(spans, start=1):
        frames[start:end] = number
        actions.append(Action(str(number), start * 0.2, end * 0.2))
    return ActionStream.of_frames("marked", frames, tuple(actions), 0.2)


def assert_actions_match_frames(stream: ActionStream, margin: int = 0) -> None:
    """Raise unless the frames of every action hold its number, but for some at each side."""
    frames = stream.load()
    for action in stream.actions:
        start, end = (round(second / stream.frame_time) for second in (action.start, action.end))
        np.testing.assert_allclose(frames[start + margin : end - margin], float(action.label), atol=1e-6)


SPANS = [(4, 20), (26, 40), (40, 47), (70, 90)]


@pytest.mark.parametrize("seed", range(10))
def test_actions_go_with_their_frames(seed: int) -> None:
    shuffled = shuffle_order(marked_stream(SPANS), "plain", seed)
    assert sorted(action.label for action in shuffled.actions) == ["1", "2", "3", "4"]
    assert [action.start for action in shuffled.actions] == sorted(action.start for action in shuffled.actions)
    assert_actions_match_frames(shuffled)
    np.testing.assert_array_equal(np.sort(shuffled.load(), axis=0), np.sort(marked_stream(SPANS).load(), axis=0))


def test_cuts_are_in_the_middle_of_idle_time() -> None:
    assert [len(piece.frames) for piece in cut_at_idle(marked_stream(SPANS))] == [23, 17, 18, 42]


def test_overlapping_actions_stay_together() -> None:
    pieces = cut_at_idle(marked_stream([(4, 30), (20, 25), (28, 40), (60, 70)]))
    assert [[action.label for action in piece.actions] for piece in pieces] == [["1", "2", "3"], ["4"]]


@pytest.mark.parametrize("spans", [[], [(3, 9)], SPANS])
def test_pieces_in_order_give_the_stream_back(spans: list[tuple[int, int]]) -> None:
    stream = marked_stream(spans)
    joined = join_pieces(cut_at_idle(stream), "skeleton")
    np.testing.assert_array_equal(joined.frames, stream.load())
    expected = [(action.start / 0.2, action.end / 0.2) for action in stream.actions]
    np.testing.assert_allclose([(each.start, each.end) for each in joined.actions] or [], expected, atol=1e-9)


def test_the_order_differs_and_depends_on_the_seed() -> None:
    orders = {
        tuple(action.label for action in shuffle_order(marked_stream(SPANS), "plain", seed).actions)
        for seed in range(20)
    }
    assert len(orders) > 5
    assert ("1", "2", "3", "4") not in orders
    first, again = (shuffle_order(marked_stream(SPANS), "sensor", seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.load(), again.load())


def test_a_jump_of_a_sensor_becomes_equal_steps() -> None:
    stream = marked_stream([(4, 20), (20, 40)], num_frames=40)
    joined = shuffle_order(stream, "sensor", seed=0).load()[:, 0]  # twenty times 2, then 0 0 0 0 1 1 ...
    np.testing.assert_allclose(joined[16:24], [2, *(2 - np.arange(1, 7) * 2 / 7), 0], atol=1e-6)


def test_a_skeleton_goes_on_where_it_stood() -> None:
    ground = np.cumsum(np.random.default_rng(0).normal(size=(90, 3)), axis=0).astype(np.float32)
    stream = ActionStream.of_frames(
        "walk", np.tile(ground, 2), tuple(Action("a", 3.0 * k, 3.0 * k + 2) for k in range(6)), 0.2
    )
    hip = shuffle_order(stream, "skeleton", seed=0).load()[:, [0, 2]]
    assert np.abs(np.diff(hip, axis=0)).max() <= np.abs(np.diff(ground[:, [0, 2]], axis=0)).max() + 1e-4


def test_pieces_of_a_generated_stream_hold_whole_actions() -> None:
    stream = GeneratedActions(num_streams=1, num_frames=400).open().streams[0]
    pieces = cut_at_idle(stream)
    assert sum(len(piece.frames) for piece in pieces) == 400
    lengths = [each.end - each.start for piece in pieces for each in piece.actions]
    np.testing.assert_allclose(lengths, [(each.end - each.start) / 0.2 for each in stream.actions], atol=1e-6)
    assert all(first.number + 1 == second.number for first, second in pairwise(pieces))
