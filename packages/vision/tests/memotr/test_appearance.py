from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from mnemic_vision.memotr import MemotrConfig, Thresholds, Tracker, TrackState, build_memotr
from mnemic_vision.memotr.appearance import AppearanceMemory, AppearanceSettings, AppearanceState

CONFIG = MemotrConfig(
    dim=32, ffn_dim=32, num_levels=2, encoder_layers=1, decoder_layers=2, num_queries=6, capacity=4,
    backbone="test_resnet", backbone_levels=2,
)  # fmt: skip
ASPECT = torch.tensor([1.5])


@pytest.fixture(scope="module")
def empty() -> TrackState:
    return build_memotr(CONFIG).init_tracks(batch=1)


@pytest.fixture
def memory() -> AppearanceMemory:
    return AppearanceMemory(2, 2 * CONFIG.capacity, AppearanceSettings(max_age=5))


def frame(empty: TrackState, places: dict[int, float]) -> TrackState:
    """Return live tracks by identity and x."""
    count = len(places)
    boxes, ids = empty.boxes.clone(), empty.ids.clone()
    boxes[0, :count] = torch.tensor([[x, 0.5, 0.1, 0.2] for x in places.values()])
    ids[0, :count] = torch.tensor([*places])
    return replace(empty, valid=torch.arange(CONFIG.capacity)[None] < count, ids=ids, boxes=boxes)


def looks(memory: AppearanceMemory, *persons: int) -> Tensor:
    """Return the looks of persons, who have something in common."""
    made = [torch.randn(memory.memory.dim, generator=torch.Generator().manual_seed(person)) for person in persons]
    stacked = torch.stack([*made, *[torch.zeros(memory.memory.dim)] * (CONFIG.capacity - len(made))]) + 0.5
    return F.normalize(stacked, dim=1)[None]


def follow(
    memory: AppearanceMemory, empty: TrackState, story: list[dict[int, tuple[int, float]]]
) -> tuple[list[list[int]], AppearanceState]:
    """Return the identities of each frame, given as {identity of the tracker: (person, x)}."""
    state, before, found = memory.init_state(1), empty, []
    known: dict[int, int] = {}  # what the memory made of identities, as the tracker carries them on
    for people in story:
        after = frame(empty, {known.get(each, each): x for each, (_, x) in people.items()})
        after, state = memory(state, before, after, looks(memory, *(person for person, _ in people.values())), ASPECT)
        given = after.ids[0, : len(people)].tolist()
        known |= dict(zip(people, given, strict=True))
        found.append(given)
        before = after
    return found, state


def test_a_lost_person_who_reappears_near_by_keeps_the_identity(memory: AppearanceMemory, empty: TrackState) -> None:
    story = [{0: (7, 0.4), 1: (8, 0.5)}, {1: (8, 0.5)}, {1: (8, 0.5), 2: (7, 0.45)}, {1: (8, 0.5), 2: (7, 0.5)}]
    assert follow(memory, empty, story)[0] == [[0, 1], [1], [1, 0], [1, 0]]


@pytest.mark.parametrize(
    ("person", "x", "absence"), [(9, 0.4, 2), (7, 0.9, 2), (7, 0.4, 7)], ids=["another", "too far", "too late"]
)
def test_another_person_or_place_or_time_is_a_new_identity(
    memory: AppearanceMemory, empty: TrackState, person: int, x: float, absence: int
) -> None:
    story = [{0: (7, 0.4), 1: (8, 0.5)}, *[{1: (8, 0.5)}] * absence, {1: (8, 0.5), 2: (person, x)}]
    assert follow(memory, empty, story)[0][-1] == [1, 2]


def test_of_two_newborns_the_more_similar_one_continues(memory: AppearanceMemory, empty: TrackState) -> None:
    story = [{0: (7, 0.4), 1: (8, 0.5)}, {1: (8, 0.5)}, {1: (8, 0.5), 2: (9, 0.4), 3: (7, 0.42)}]
    assert follow(memory, empty, story)[0][-1] == [1, 2, 0]


def test_a_live_person_is_never_taken_for_a_lost_one(memory: AppearanceMemory, empty: TrackState) -> None:
    assert follow(memory, empty, [{0: (7, 0.4)}, {0: (7, 0.4), 1: (7, 0.45)}])[0][-1] == [0, 1]


def test_who_is_hidden_is_remembered_as_before(memory: AppearanceMemory, empty: TrackState) -> None:
    _, clear = follow(memory, empty, [{0: (7, 0.4), 1: (8, 0.6)}])
    _, hidden = follow(memory, empty, [{0: (7, 0.4), 1: (8, 0.6)}, {0: (9, 0.41), 1: (8, 0.42)}])
    row = int((clear.ids[0] == 0).nonzero())
    assert_close(hidden.looks.long[row], clear.looks.long[row])
    assert hidden.boxes[0, row, 0] == pytest.approx(0.41)


def test_many_people_never_displace_those_who_are_there(memory: AppearanceMemory, empty: TrackState) -> None:
    story = [{0: (0, 0.1), number: (number, 0.5)} for number in range(1, 30)]
    found, state = follow(memory, empty, story)
    assert [ids[0] for ids in found] == [0] * 29
    assert {0, 29} <= set(state.ids[0].tolist())
    assert state.ids.shape == (1, 8)


def test_looks_tell_colors_apart_and_do_not_depend_on_padding(memory: AppearanceMemory) -> None:
    torch.manual_seed(0)
    images, features = torch.zeros(1, 3, 64, 64), 0.01 * torch.randn(1, 2, 16, 16)
    images[:, 0, 8:40, 8:24], images[:, 2, 8:40, 40:56] = 2.0, 2.0
    padding = torch.zeros(1, 64, 64, dtype=torch.bool)
    boxes = torch.tensor([[[0.25, 0.375, 0.25, 0.5], [0.75, 0.375, 0.25, 0.5], [0.26, 0.38, 0.25, 0.5]]])
    red, blue, again = memory.look(images, features, padding, boxes)[0]
    assert red @ again > 0.8 > red @ blue
    padding[:, 48:], padding[:, :, 62:] = True, True
    scaled = boxes * torch.tensor([64 / 62, 64 / 48, 64 / 62, 64 / 48])
    assert_close(memory.look(images, features, padding, scaled)[0, 0], red, atol=1e-3, rtol=0)


def test_a_session_keeps_looks_and_is_refused_without_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, frames = build_memotr(CONFIG), np.random.default_rng(0).integers(0, 256, (6, 48, 64, 3), dtype=np.uint8)
    thresholds, settings = Thresholds(0.0, 0.0, 0.0, min_area=0.0), AppearanceSettings()
    first, second = (Tracker(model, thresholds, 64, 96, appearance=settings) for _ in range(2))
    expected = [first(each) for each in frames]
    first.reset()
    assert [first(each) for each in frames[:3]] == expected[:3]
    first.save(tmp_path / "stream.state")
    second.load(tmp_path / "stream.state")
    assert [second(each) for each in frames[3:]] == expected[3:]
    with pytest.raises(ValueError, match="appearance"):
        Tracker(model, thresholds, 64, 96).load(tmp_path / "stream.state")


@pytest.mark.parametrize("options", [{"similarity": 2.0}, {"max_age": 0}, {"decay": -1.0}, {"growth": -1.0}], ids=str)
def test_settings_without_a_meaning_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        AppearanceSettings(**options)
