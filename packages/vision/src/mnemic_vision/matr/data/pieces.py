"""Cutting streams between their actions, and joining the pieces in another order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from zlib import crc32

import numpy as np
from jaxtyping import Float32

from mnemic_vision.matr.actions import Action
from mnemic_vision.matr.data.stream import ActionStream, StreamKind

BLENDED_FRAMES = 3  # at each side of a join
GROUND_AXES = (0, 2)  # x and z of a skeleton; y is the vertical one


@dataclass(frozen=True)
class Piece:
    """A part of a stream: one action, or several that overlap, with half of the idle time at each side.

    Attributes:
        frames: one row each.
        actions: with start and end in frames of the piece.
        number: place in its stream.
    """

    frames: Float32[np.ndarray, "frame channel"]
    actions: tuple[Action, ...]
    number: int = 0


def cut_at_idle(stream: ActionStream) -> list[Piece]:
    """Return the pieces of a stream, cut in the middle between consecutive actions.

    Actions that overlap stay together; where one follows another directly, the cut is between them.
    """
    frames = np.asarray(stream.load(), dtype=np.float32)
    groups = _group_overlapping(_in_frames(stream))
    cuts = [0]
    pieces_actions: list[list[Action]] = [[]]
    for group in groups:
        start = min(action.start for action in group)
        middle = round((max((each.end for each in pieces_actions[-1]), default=0.0) + start) / 2)
        if pieces_actions[-1] and cuts[-1] < middle < len(frames):
            cuts.append(middle)
            pieces_actions.append([])
        pieces_actions[-1] += group
    bounds = pairwise([*cuts, len(frames)])
    return [
        Piece(frames[first:end], tuple(_shift(action, -first, end - first) for action in actions), number)
        for number, ((first, end), actions) in enumerate(zip(bounds, pieces_actions, strict=True))
    ]


def join_pieces(pieces: Sequence[Piece], kind: StreamKind) -> Piece:
    """Return pieces put one after the other.

    Pieces that were not neighbors are joined smoothly: the next skeleton goes on where the last one stood, and what
    remains of the jump of a skeleton or sensor is spread over `BLENDED_FRAMES` at each side. Features are only cut.
    """
    parts = [piece.frames for piece in pieces]
    if kind != "plain" and [piece.number for piece in pieces] != list(range(len(pieces))):
        parts = [part.copy() for part in parts]
        for before, after in pairwise(parts):
            if kind == "skeleton":
                _move_to(after, before[-1])
            _spread_jump(before, after)
    starts = np.cumsum([0, *map(len, parts)])
    actions = [
        _shift(action, int(start), int(starts[-1]))
        for start, piece in zip(starts, pieces, strict=False)
        for action in piece.actions
    ]
    return Piece(np.concatenate(parts), tuple(actions))


def shuffle_order(stream: ActionStream, kind: StreamKind, seed: int) -> ActionStream:
    """Return a stream with its actions in another order, to test that a learned order does not help.

    Args:
        stream: is cut in the middle of the idle time.
        kind: what a frame consists of.
        seed: together with the stream's name it decides the order, which differs from the present one.

    Example:
        >>> steps = (Action("sit", 0.0, 1.0), Action("stand", 2.0, 3.0))
        >>> stream = ActionStream.of_frames("s", np.zeros((40, 6), np.float32), steps, frame_time=0.1)
        >>> [action.label for action in shuffle_order(stream, "sensor", seed=0).actions]
        ['stand', 'sit']
    """
    pieces = cut_at_idle(stream)
    order = np.random.default_rng((seed, crc32(stream.name.encode()))).permutation(len(pieces))
    if np.array_equal(order, np.arange(len(pieces))):
        order = np.roll(order, 1)
    return as_stream(join_pieces([pieces[index] for index in order], kind), stream)


def as_stream(piece: Piece, like: ActionStream) -> ActionStream:
    """Return a piece as a stream that has name and frame rate of another one."""
    time = like.frame_time
    actions = tuple(replace(each, start=each.start * time, end=each.end * time) for each in piece.actions)
    stream = ActionStream.of_frames(like.name, piece.frames, actions, time)
    return replace(stream, offset=0.0, lookahead=like.lookahead)


def _in_frames(stream: ActionStream) -> list[Action]:
    """Return the actions by start, in frames."""
    time = stream.frame_time
    moved = [
        Action(each.label, (each.start - stream.offset) / time, (each.end - stream.offset) / time)
        for each in stream.actions
    ]
    inside = (action for action in moved if action.end > 0 and action.start < stream.num_frames)
    return sorted(inside, key=lambda action: action.start)


def _group_overlapping(actions: list[Action]) -> list[list[Action]]:
    groups: list[list[Action]] = []
    end = -np.inf
    for action in actions:
        if action.start >= end:
            groups.append([])
        groups[-1].append(action)
        end = max(end, action.end)
    return groups


def _shift(action: Action, by: int, end: int) -> Action:
    """Return an action moved by a number of frames, within 0 and the end."""
    return replace(action, start=max(action.start + by, 0.0), end=min(action.end + by, float(end)))


def _move_to(after: Float32[np.ndarray, "frame channel"], place: Float32[np.ndarray, " channel"]) -> None:
    """Move a skeleton over the ground so that its hip begins at a place."""
    for axis in GROUND_AXES:
        after[:, axis::3] += place[axis] - after[0, axis]


def _spread_jump(before: Float32[np.ndarray, "before channel"], after: Float32[np.ndarray, "after channel"]) -> None:
    """Turn the jump between two pieces into equal steps over a few frames."""
    first, second = min(BLENDED_FRAMES, len(before)), min(BLENDED_FRAMES, len(after))
    jump = after[0] - before[-1]
    share = (np.arange(1, first + second + 1, dtype=np.float32) / (first + second + 1))[:, None]
    before[len(before) - first :] += share[:first] * jump
    after[:second] += (share[first:] - 1) * jump
