from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mnemic_core import ExponentialState, MemoryConfig
from mnemic_vision.memotr.tracks import TrackSlots, TrackState, empty_slots

CAPACITY = 4
SIZES = {"query_dim": 2, "dim": 2, "num_classes": 2}


def tagged(tags: list[list[int]], slots: int, scores: list[list[float]] | None = None) -> dict[str, Tensor]:
    """Return slots of which each used one carries its tag in every field."""
    filled = empty_slots(len(tags), slots, **SIZES)
    for row, stream in enumerate(tags):
        for slot, tag in enumerate(stream):
            filled["valid"][row, slot] = True
            for name in ("ids", "query", "boxes", "output"):
                filled[name][row, slot] = tag
            filled["logits"][row, slot] = torch.tensor(scores[row][slot] if scores else 0.5).logit()
    return filled


def state_of(tags: list[list[int]]) -> TrackState:
    memory = MemoryConfig("exponential").build(2).init_state(len(tags) * CAPACITY)
    assert isinstance(memory, ExponentialState)
    for row, stream in enumerate(tags):
        for slot, tag in enumerate(stream):
            memory.long[row * CAPACITY + slot] = tag
    return TrackState(**tagged(tags, CAPACITY), memory=memory, next_id=torch.zeros(len(tags), dtype=torch.long))


def long_of(state: TrackState) -> Tensor:
    """Return the long-term memory by stream and slot."""
    return state.tensors()["memory.long"].unflatten(0, (-1, CAPACITY))


def tags_of(state: TrackState) -> list[list[int]]:
    """Return the tags in front of each stream, after checking that every field of a slot has the same one."""
    found = []
    for row in range(state.batch_size):
        count = int(state.valid[row].sum())
        assert state.valid[row, :count].all()
        ids = state.ids[row, :count]
        for tensor in (state.query, state.boxes, state.output):
            assert torch.equal(tensor[row, :count, 0].long(), ids)
        assert state.ids[row, count:].eq(-1).all()
        assert state.query[row, count:].eq(0).all()
        found.append(ids.tolist())
    return found


STREAMS = st.lists(st.integers(0, CAPACITY), min_size=1, max_size=3)


def numbered(counts: list[int], first: int = 1) -> list[list[int]]:
    return [[first + 10 * row + index for index in range(count)] for row, count in enumerate(counts)]


@settings(max_examples=50, deadline=None)
@given(STREAMS, st.data())
def test_compact_is_a_list_filter(counts: list[int], data: st.DataObject) -> None:
    tags = numbered(counts)
    keep = [[data.draw(st.booleans()) for _ in stream] for stream in tags]
    mask = torch.tensor([row + [False] * (CAPACITY - len(row)) for row in keep])
    kept = [[tag for tag, wanted in zip(*pair, strict=True) if wanted] for pair in zip(tags, keep, strict=True)]
    state = state_of(tags).compact(mask)
    assert tags_of(state) == kept
    for row, stream in enumerate(kept):
        assert long_of(state)[row, : len(stream), 0].tolist() == stream


@settings(max_examples=50, deadline=None)
@given(STREAMS, st.data())
def test_append_is_a_list_extension_by_the_highest_scores(counts: list[int], data: st.DataObject) -> None:
    born = [data.draw(st.integers(0, 6)) for _ in counts]
    old, new = numbered(counts), numbered(born, first=101)
    scores = [data.draw(st.permutations([0.1 * (i + 1) for i in range(len(stream))])) for stream in new]
    state, added = state_of(old).append(TrackSlots(**tagged(new, 6, scores)))
    expected = []
    for stream, fresh, score in zip(old, new, scores, strict=True):
        best = sorted(range(len(fresh)), key=lambda index: -score[index])[: CAPACITY - len(stream)]
        expected.append(stream + [fresh[index] for index in sorted(best)])
    assert tags_of(state) == expected
    assert [state.ids[row][added[row]].tolist() for row in range(len(old))] == [
        [tag for tag in stream if tag > 100] for stream in expected
    ]
    for row, stream in enumerate(old):
        assert long_of(state)[row, : len(stream), 0].tolist() == stream


def test_what_unused_slots_hold_is_cleared_when_they_could_be_read() -> None:
    state = state_of([[1, 2]])
    corrupted = state.map(lambda tensor: tensor.clone().fill_(torch.nan) if tensor.is_floating_point() else tensor)
    emptied = corrupted.compact(torch.zeros(1, CAPACITY, dtype=torch.bool))
    for name in ("query", "reference", "output", "last_output", "boxes", "logits"):
        assert getattr(emptied, name).eq(0).all()
    assert emptied.scores.eq(0).all()


def test_rows_of_a_memory_move_with_their_slots() -> None:
    memory = MemoryConfig("window", {"capacity": 3}).build(2)
    rows = memory.write(memory.init_state(2 * CAPACITY), torch.randn(2 * CAPACITY, 1, 2))
    state = replace(state_of([[1, 2], [11]]), memory=rows)
    order = torch.tensor([[3, 0, 2, 1], [1, 2, 3, 0]])
    moved = state.take(order)
    for name, tensor in rows.tensors().items():
        by_stream = tensor.unflatten(0, (2, CAPACITY))
        expected = torch.stack([by_stream[row, order[row]] for row in range(2)])
        assert torch.equal(moved.memory.tensors()[name], expected.flatten(0, 1))
    back = moved.take(order.argsort(dim=1))
    assert all(torch.equal(back.memory.tensors()[name], tensor) for name, tensor in rows.tensors().items())


def test_a_state_is_selected_moved_and_refilled() -> None:
    state = state_of([[1, 2], [11]])
    swapped = state.index_select(torch.tensor([1, 0]))
    assert tags_of(swapped) == [[11], [1, 2]]
    assert long_of(swapped)[0, 0, 0] == 11
    refilled = state.refill(swapped.to_dict())
    assert tags_of(refilled.detach().to("cpu")) == [[11], [1, 2]]
    assert [field.name for field in fields(refilled)] == [field.name for field in fields(state)]


@pytest.mark.parametrize("name", ["exponential", "window", "none"])
def test_the_state_has_the_same_size_whatever_it_holds(name: str) -> None:
    def state(tags: list[list[int]]) -> TrackState:
        memory = MemoryConfig(name).build(2).init_state(CAPACITY)
        return TrackState(**tagged(tags, CAPACITY), memory=memory, next_id=torch.zeros(1, dtype=torch.long))

    empty, full = state([[]]), state([[1, 2, 3]])
    assert empty.nbytes == full.nbytes == full.append(TrackSlots(**tagged([[4, 5]], 2)))[0].nbytes
