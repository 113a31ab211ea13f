from collections import deque

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mnemic_core import RingBuffer
from mnemic_core.testing import unchecked_annotations

BATCH = 2
SEGMENTS = st.lists(
    st.integers(0, 5).flatmap(
        lambda time: st.lists(st.lists(st.booleans(), min_size=time, max_size=time), min_size=BATCH, max_size=BATCH)
    ),
    max_size=5,
)


@settings(deadline=None, max_examples=60)
@given(capacity=st.integers(1, 4), segments=SEGMENTS)
def test_every_row_behaves_like_a_deque(capacity: int, segments: list[list[list[bool]]]) -> None:
    ring = RingBuffer.empty(BATCH, capacity)
    expected: list[deque[float]] = [deque(maxlen=capacity) for _ in range(BATCH)]
    for number, rows in enumerate(segments):
        padding = torch.tensor(rows, dtype=torch.bool).view(BATCH, -1)
        items = torch.arange(1.0, padding.numel() + 1).view_as(padding) + 100 * number
        ring = ring.append(items.masked_fill(padding, torch.nan), padding)
        for row, queue in enumerate(expected):
            queue.extend(items[row][~padding[row]].tolist())
    for row, queue in enumerate(expected):
        in_use = len(queue)
        assert ring.ordered()[row].tolist() == [*queue, *[0] * (capacity - in_use)]
        assert ring.items[row][ring.valid()[row]].sort().values.tolist() == sorted(queue)
        by_age = dict(zip(ring.age()[row].tolist(), ring.items[row].tolist(), strict=True))
        assert [by_age[age] for age in reversed(range(in_use))] == list(queue)
        assert (ring.age()[row] == -1).sum() == capacity - in_use


@pytest.mark.parametrize("item_shape", [(), (3,), (2, 3)], ids=str)
def test_items_of_any_shape(item_shape: tuple[int, ...]) -> None:
    items = torch.randn(2, 5, *item_shape)
    ring = RingBuffer.empty(2, 3, *item_shape).append(items)
    assert torch.equal(ring.ordered(), items[:, -3:])
    assert ring.slots().values.shape == (2, 3, items[0, 0].numel())


def test_integers_stay_integers() -> None:
    ring = RingBuffer.empty(1, 2, dtype=torch.long).append(torch.tensor([[7, 8, 9]]))
    assert torch.equal(ring.ordered(), torch.tensor([[8, 9]]))


def test_gradients_reach_the_items_that_stay_and_no_others() -> None:
    first, second = torch.randn(1, 2, 3, requires_grad=True), torch.randn(1, 3, 3, requires_grad=True)
    padding = torch.tensor([[False, True, False]])
    ring = RingBuffer.empty(1, 3, 3).append(first).append(second, padding)
    ring.items.sum().backward()
    assert_close(first.grad, torch.tensor([[[0.0] * 3, [1.0] * 3]]))
    assert_close(second.grad, torch.tensor([[[1.0] * 3, [0.0] * 3, [1.0] * 3]]))


def test_one_graph_computes_every_step() -> None:
    torch.compiler.reset()
    step = torch.compile(lambda ring, items, padding: ring.append(items, padding), fullgraph=True, backend="eager")
    ring = expected = RingBuffer.empty(2, 3, 4)
    padding = torch.rand(2, 5) > 0.5
    for index in range(3):
        items = torch.randn(2, 5, 4)
        with unchecked_annotations(), torch._dynamo.config.patch(error_on_recompile=index > 0):
            ring = step(ring, items, padding)
        expected = expected.append(items, padding)
        assert_close(ring.tensors(), expected.tensors())


def test_nothing_is_no_capacity() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        RingBuffer.empty(1, 0)
