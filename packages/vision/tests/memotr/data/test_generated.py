import itertools

import numpy as np
import pytest
import torch

from mnemic_vision.memotr.data import GeneratedSequences
from mnemic_vision.memotr.data.generated.sprites import draw_person, random_look
from mnemic_vision.memotr.data.generated.world import make_scene

SIZE = (96, 128)


@pytest.fixture(scope="module")
def world() -> GeneratedSequences:
    return GeneratedSequences(seed=1, num_sequences=3, num_frames=80, size=SIZE)


def test_the_same_seed_gives_the_same_world_whatever_was_drawn_before(world: GeneratedSequences) -> None:
    again = GeneratedSequences(seed=1, num_sequences=1, num_frames=80, size=SIZE).sequences[0]
    world.sequences[0].image(40)
    for frame in (7, 3):
        assert torch.equal(again.image(frame), world.sequences[0].image(frame))
    for ours, theirs in zip(again.target_rows(30), world.sequences[0].target_rows(30), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_seeds_and_sequences_differ(world: GeneratedSequences) -> None:
    other = GeneratedSequences(seed=2, num_sequences=1, num_frames=1, size=SIZE).sequences[0]
    first, second = world.sequences[:2]
    assert not torch.equal(other.image(0), first.image(0))
    assert not torch.equal(second.image(0), first.image(0))


def test_images_and_rows_have_the_form_of_every_sequence(world: GeneratedSequences) -> None:
    sequence = world.sequences[0]
    assert (sequence.num_frames, sequence.image_size, sequence.frame_rate) == (80, SIZE, 10)
    assert sequence.image(0).dtype == torch.uint8
    assert sequence.image(0).shape == (3, *SIZE)
    for frame in range(80):
        rows = sequence.target_rows(frame)
        assert len(set(rows.ids.tolist())) == len(rows.ids)
        assert (rows.boxes[:, 2:] > 2).all()
        assert ((rows.visibility >= 0.1) & (rows.visibility <= 1)).all()


def test_boxes_move_smoothly_and_change_their_size(world: GeneratedSequences) -> None:
    growth = []
    for sequence in world.sequences:
        everywhere = [dict(zip(rows.ids.tolist(), rows.boxes, strict=True)) for rows in frames_of(sequence)]
        for before, after in itertools.pairwise(everywhere):
            for identity in before.keys() & after.keys():
                feet = [box[:2] + box[2:] * [0.5, 1] for box in (before[identity], after[identity])]
                assert np.abs(feet[1] - feet[0]).max() < 0.09 * SIZE[0]
        heights = np.array([[box[3] for box in boxes.values()][:1] for boxes in everywhere if boxes])
        growth.append(heights.max() / heights.min())
    assert max(growth) > 1.3


def frames_of(sequence):  # type: ignore[no-untyped-def]
    return [sequence.target_rows(frame) for frame in range(sequence.num_frames)]


def test_people_vanish_and_come_back_with_their_identity(world: GeneratedSequences) -> None:
    gaps = []
    for sequence in world.sequences:
        presence: dict[int, list[int]] = {}
        for frame, rows in enumerate(frames_of(sequence)):
            for identity in rows.ids.tolist():
                presence.setdefault(identity, []).append(frame)
        gaps += [int(gap) - 1 for frames in presence.values() for gap in np.diff(frames) if gap > 1]
    assert sum(gap >= 5 for gap in gaps) >= 3
    assert len(set(gaps)) > 3


def test_people_enter_and_leave(world: GeneratedSequences) -> None:
    for sequence in world.sequences:
        first, last = (set(sequence.target_rows(frame).ids.tolist()) for frame in (0, 79))
        assert first - last
        assert last - first


def test_hidden_people_are_annotated_only_on_request() -> None:
    seen, all_of_them = (
        GeneratedSequences(seed=1, num_sequences=1, num_frames=40, size=SIZE, min_visibility=share).sequences[0]
        for share in (0.5, 0.0)
    )
    pairs = list(zip(frames_of(seen), frames_of(all_of_them), strict=True))
    assert all(set(few.ids.tolist()) <= set(many.ids.tolist()) for few, many in pairs)
    assert min(rows.visibility.min() for rows in frames_of(all_of_them)) == 0
    for few, many in pairs:
        assert set(few.ids.tolist()) == set(many.ids[many.visibility >= 0.5].tolist())


def test_from_the_start_there_are_twins() -> None:
    walkers = make_scene((3, 0), num_frames=5, size=SIZE, num_objects=4).walkers
    assert walkers[0].look == walkers[1].look
    assert walkers[0].look != walkers[2].look or walkers[0].look != walkers[3].look


def test_a_fully_visible_person_fills_the_box() -> None:
    """Removing a person changes the pixels of the box, and nothing far from it."""
    scene = make_scene((5, 0), num_frames=1, size=(192, 256), num_objects=6)
    world = GeneratedSequences(seed=5, num_sequences=1, num_frames=1, size=(192, 256), num_objects=6)
    rows = world.sequences[0].target_rows(0)
    row = int(rows.visibility.argmax())
    walker = int(rows.ids[row]) - 1
    fewer = [other for number, other in enumerate(scene.walkers) if number != walker]
    changed = (scene[0].int() - type(scene)(**{**vars(scene), "walkers": fewer})[0].int()).abs().sum(0) > 60
    left, top, width, height = rows.boxes[row]
    above_the_shadow = changed[: int(top + 0.85 * height)]
    down, across = changed.any(1).nonzero(), above_the_shadow.any(0).nonzero()
    assert rows.visibility[row] > 0.95
    assert abs(int(down.min()) - top) <= 2.5
    assert abs(int(across.min()) - left) <= 4
    assert abs(int(across.max()) - left - width) <= 4
    assert int(down.max()) <= top + height + 3


def test_a_person_who_turns_is_mirrored() -> None:
    look = random_look(np.random.default_rng(0))
    right, left = (np.asarray(draw_person(look, 2, faces_left=side, is_large=False).picture) for side in (False, True))
    np.testing.assert_array_equal(right, left[:, ::-1])


def test_the_camera_shakes_slowly() -> None:
    scene = make_scene((0, 0), num_frames=2, size=(192, 256), num_objects=1)
    shifts = np.array([scene.camera(frame) for frame in range(200)])
    assert (np.abs(np.diff(shifts, axis=0)).max() <= 2).all()
    assert (np.ptp(shifts, axis=0) >= 2).all()
    assert np.abs(shifts).max() <= 0.02 * 192 + 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (32, 128)}, "size must be at least 64"),
        ({"num_frames": 0}, "must be at least 1"),
        ({"num_objects": 201}, "num_objects must be at most 200"),
        ({"min_visibility": 1.5}, "min_visibility must be from 0 to 1"),
    ],
)
def test_impossible_worlds_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GeneratedSequences(**changes)  # type: ignore[arg-type]
