import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mnemic_core.buffers.gated_fifo import GatedFifoMemory
from mnemic_core.buffers.ring_buffer import RingBuffer

DIM, SLOTS, CHUNK = 8, 3, 2


def small(chunk_length: int = CHUNK) -> GatedFifoMemory:
    torch.manual_seed(0)
    return GatedFifoMemory(DIM, num_heads=2, capacity=SLOTS, chunk_length=chunk_length)


def attend(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return (keys @ query / math.sqrt(len(query))).softmax(0) @ values if len(keys) else torch.zeros_like(query)


def turn(x: Tensor) -> Tensor:
    """Rotary positions as a product of complex numbers, for ``[time head_dim]``."""
    half = x.shape[1] // 2
    angle = torch.arange(len(x))[:, None] * 10_000.0 ** (-torch.arange(half) / half)
    turned = torch.complex(x[:, :half], x[:, half:]) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat([turned.real, turned.imag], dim=1)


def naive(memory: GatedFifoMemory, x: Tensor, bank: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The definition for one row: token by token, head by head, and chunk by chunk on a list of slots."""
    queries, keys, values = memory.project(x).chunk(3, dim=-1)
    past = torch.stack(bank) if bank else torch.zeros(0, DIM)
    bank_keys, bank_values = memory.bank_project(past).chunk(2, dim=-1)
    paths: list[list[Tensor]] = [[], [], []]
    for head in torch.arange(DIM).view(memory.num_heads, -1):
        turned, turned_keys, value = turn(queries[:, head]), turn(keys[:, head]), values[:, head]
        for path, first in ((0, lambda t: 0), (1, lambda t: t - t % memory.chunk_length)):
            seen = [slice(first(t), t + 1) for t in range(len(x))]
            found = [attend(turned[t], turned_keys[seen[t]], value[seen[t]]) for t in range(len(x))]
            paths[path].append(torch.stack(found))
        recalled = [attend(query, bank_keys[:, head], bank_values[:, head]) for query in queries[:, head]]
        paths[2].append(torch.stack(recalled))
    y = memory.output(torch.cat([head for path in paths for head in path], dim=1))
    bank = list(bank)
    for chunk in y.split(memory.chunk_length):
        mean = chunk.mean(0)
        old = bank.pop(0) if len(bank) == memory.capacity else torch.zeros(DIM)
        gate = memory.gate(torch.cat([mean, old])).sigmoid()
        bank.append(gate * memory.candidate(mean).tanh() + (1 - gate) * old)
    return y, bank


# Five tokens write three slots, the last of half a chunk; eleven write each slot twice.
@pytest.mark.parametrize("lengths", [(5, 1, 4), (2, 11, 3)])
def test_a_stream_equals_the_definition_written_as_loops(lengths: tuple[int, ...]) -> None:
    memory, bank = small(), []
    state = memory.init_state(1)
    for length in lengths:
        x = torch.randn(1, length, DIM)
        output, state = memory(x, state)
        expected, bank = naive(memory, x[0], bank)
        assert_close(output[0], expected)
    assert_close(state.ordered()[0, : len(bank)], torch.stack(bank))


@pytest.mark.parametrize(("chunk_length", "is_equal"), [(2, False), (4, True), (9, True)])
def test_the_chunk_path_is_the_full_path_where_one_chunk_holds_the_segment(chunk_length: int, is_equal: bool) -> None:
    memory, x = small(chunk_length), torch.randn(2, 4, DIM)
    output, _ = memory(x, memory.init_state(2))
    full, chunk, bank = memory.output.weight.data.chunk(3, dim=1)
    memory.output.weight.data = torch.cat([chunk, full, bank], dim=1)  # each path gets what the other had
    assert torch.allclose(memory(x, memory.init_state(2))[0], output, atol=1e-6) is is_equal


def test_an_open_gate_is_a_plain_fifo_in_order() -> None:
    memory = small()
    torch.nn.init.constant_(memory.gate.bias, 1e4)
    state, expected = memory.init_state(2), RingBuffer.empty(2, SLOTS, DIM)
    for length in (4, 2, 8):
        output, state = memory(torch.randn(2, length, DIM), state)
        chunks = output.unflatten(1, (-1, CHUNK)).mean(2)
        expected = expected.append(memory.candidate(chunks).tanh())
        assert_close(state.ordered(), expected.ordered())


def test_a_closed_gate_keeps_the_slots() -> None:
    memory = small()
    start = memory.init_state(2).append(torch.randn(2, SLOTS, DIM))
    torch.nn.init.constant_(memory.gate.bias, -1e4)
    _, state = memory(torch.randn(2, 4, DIM), start)
    assert_close(state.items, start.items)


def test_no_token_sees_a_later_one() -> None:
    memory, x = small(), torch.randn(1, 6, DIM)
    start = memory.init_state(1).append(torch.randn(1, 2, DIM))
    later = x.clone()
    later[:, 3:] += 1
    assert_close(memory(later, start)[0][:, :3], memory(x, start)[0][:, :3])


def test_the_bank_has_no_order_for_its_reader() -> None:
    memory, x, slots = small(), torch.randn(1, 4, DIM), torch.randn(1, SLOTS, DIM)
    read = [memory(x, memory.init_state(1).append(order))[0] for order in (slots, slots.flip(1))]
    assert_close(*read)


def test_an_empty_bank_adds_nothing() -> None:
    memory, x = small(), torch.randn(1, 4, DIM)
    output, _ = memory(x, memory.init_state(1))
    torch.nn.init.constant_(memory.bank_project.bias, 5.0)
    assert torch.equal(memory(x, memory.init_state(1))[0], output)


def test_padding_may_be_anywhere_and_hold_anything() -> None:
    memory, x = small(), torch.randn(1, 5, DIM)
    holes = torch.tensor([[True, False, False, True, True, False, False, False, True]])
    padded = torch.full((1, 9, DIM), torch.nan)
    padded[~holes] = x[0]
    start = memory.init_state(1).append(torch.randn(1, 2, DIM))
    output, state = memory(padded, start, padding=holes)
    expected, expected_state = memory(x, start)
    assert_close(output[~holes], expected[0])
    assert_close(state.tensors(), expected_state.tensors())


def test_segments_without_tokens_change_nothing() -> None:
    memory = small()
    start = memory.init_state(2).append(torch.randn(2, 2, DIM))
    output, state = memory(torch.empty(2, 0, DIM), start)
    assert output.shape == (2, 0, DIM)
    assert state is start
    _, state = memory(torch.randn(2, 3, DIM), start, padding=torch.ones(2, 3, dtype=torch.bool))
    assert_close(state.tensors(), start.tensors())


def test_a_nan_stays_in_its_row() -> None:
    memory, x = small(), torch.randn(2, 4, DIM)
    x[0, 1] = torch.nan
    output, state = memory(x, memory.init_state(2))
    assert output[0].isnan().any()
    assert output[1].isfinite().all()
    assert state.items[1].isfinite().all()


def test_half_precision_tokens_meet_a_full_precision_bank() -> None:
    memory = small().bfloat16()
    output, state = memory(torch.randn(1, 4, DIM).bfloat16(), memory.init_state(1, dtype=torch.float32))
    assert output.dtype == torch.bfloat16
    assert state.items.dtype == torch.float32


def test_the_gate_learns_through_the_next_segment() -> None:
    memory = small()
    _, state = memory(torch.randn(1, 4, DIM), memory.init_state(1))
    memory(torch.randn(1, 4, DIM), state)[0].sum().backward()
    assert all(parameter.grad.any() for parameter in (memory.gate.weight, memory.candidate.weight))


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"multiple of 2 \* num_heads.*got dim=6, num_heads=2"):
        GatedFifoMemory(6, num_heads=2)
    for sizes in ({"capacity": 0}, {"chunk_length": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(sizes))} must be at least 1, got 0"):
            GatedFifoMemory(DIM, **sizes)
