from collections import deque
from pathlib import Path

import pytest
import torch
from golden_files import GoldenCase, golden_cases
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from mnemic_core import memory_report
from mnemic_core.buffers.segment_queue import SampleFrom, SegmentQueue, SegmentQueueState

DIM, LENGTH = 4, 4
FOLDER = Path(__file__).parent.parent / "golden"
EMPTY_INDEX = 10_000  # what the released code has for the frame index of an empty place


@settings(deadline=None, max_examples=30)
@given(
    segments=st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.booleans()), max_size=5),
    stride=st.integers(1, 3),
    sample_from=st.sampled_from(["newest", "oldest"]),
    seed=st.integers(0, 99),
)
def test_every_row_behaves_like_a_deque_of_flagged_segments(
    segments: list[tuple[int, bool, bool]], stride: int, sample_from: SampleFrom, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    queue = SegmentQueue(1, capacity=2, segment_length=LENGTH, stride=stride, sample_from=sample_from)
    sampled = range(0, LENGTH, stride) if sample_from == "newest" else range(LENGTH - 1, -1, -stride)
    state, seen = queue.init_state(2), [0, 0]
    expected: list[deque[list[float]]] = [deque(maxlen=2) for _ in range(2)]
    for time, *flags in segments:
        values = torch.randn(2, time, 1, generator=generator)
        padding = torch.rand(2, time, generator=generator) > 0.7
        hidden = values.masked_fill(padding[..., None], torch.nan)
        state = queue.write(state, hidden, padding=padding, store=torch.tensor(flags))
        for row, stored in enumerate(expected):
            frames = values[row, ~padding[row], 0].tolist()
            seen[row] += len(frames)
            kept = [frames[-1 - back] for back in sorted(sampled, reverse=True) if back < len(frames)]
            if kept and flags[row]:
                stored.append([seen[row] - 1, *kept])
    assert (state.newest + 1).tolist() == seen
    for row, stored in enumerate(expected):
        marks = state.marks.ordered()[row, : len(stored)].tolist()
        assert marks == [[int(newest), len(kept)] for newest, *kept in stored]
        for frames, (_, *kept) in zip(state.segments.ordered()[row, ..., 0], stored, strict=False):
            assert frames.tolist() == [*[0] * (len(frames) - len(kept)), *kept]
        assert queue.frames(state).valid[row].sum() == sum(number for _, number in marks)


def test_ages_are_those_of_segments_and_frames() -> None:
    queue = SegmentQueue(1, capacity=3, segment_length=2)
    state = queue.init_state(1)
    for index, flag in enumerate([True, False, True, False]):
        segment = torch.tensor([[[2.0 * index], [2.0 * index + 1]]])  # the value of a frame is its index
        state = queue.write(state, segment, store=torch.tensor([flag]))
    stored = queue.frames(state)
    assert stored.frames.flatten().tolist() == [0, 1, 4, 5, 0, 0]
    assert stored.valid.flatten().tolist() == [True] * 4 + [False] * 2
    assert stored.segment_age.flatten().tolist() == [3, 3, 1, 1, -1, -1]
    assert stored.frame_age.flatten().tolist() == [1, 0, 1, 0, -1, -1]
    later = queue.frames(state, now=torch.tensor([12]))
    assert later.segment_age[0, 0] == (12 - 1) // 2


def test_a_row_that_is_not_flagged_stays_bit_identical_and_grows_older() -> None:
    queue = SegmentQueue(DIM, capacity=2, segment_length=LENGTH)
    before = queue.write(queue.init_state(2), torch.randn(2, LENGTH, DIM))
    after = queue.write(before, torch.randn(2, LENGTH, DIM), store=torch.tensor([False, True]))
    assert torch.equal(after.segments.items[0], before.segments.items[0])
    assert after.segments.count.tolist() == [1, 2]
    assert queue.frames(after).segment_age[0, 0] == 1


def test_every_row_stores_its_own_segment() -> None:
    # The released code takes frame b of all rows for row b, which is the same only where windows overlap just so.
    queue, values = SegmentQueue(DIM, capacity=1, segment_length=LENGTH), torch.randn(3, LENGTH, DIM)
    state = queue.write(queue.init_state(3), values)
    assert torch.equal(queue.frames(state).frames, values)


def test_a_reset_touches_the_given_rows_only() -> None:
    queue = SegmentQueue(DIM, capacity=2, segment_length=LENGTH)
    used = queue.write(queue.init_state(3), torch.randn(3, LENGTH, DIM))
    state = queue.reset(used, torch.tensor([False, True, False]))
    assert state.segments.count.tolist() == [1, 0, 1]
    assert torch.equal(state.segments.items[2], used.segments.items[2])


def test_the_newest_frame_is_kept_unless_the_stride_counts_from_the_oldest() -> None:
    values = torch.arange(float(LENGTH)).view(1, LENGTH, 1)
    for sample_from, expected in (("newest", [1, 3]), ("oldest", [0, 2])):
        queue = SegmentQueue(1, capacity=1, segment_length=LENGTH, stride=2, sample_from=sample_from)
        stored = queue.frames(queue.write(queue.init_state(1), values))
        assert stored.frames.flatten().tolist() == expected
        assert stored.frame_age.flatten().tolist() == [LENGTH - 1 - frame for frame in expected]


def test_reading_is_attention_over_the_frames_that_are_there() -> None:
    queue, query = SegmentQueue(DIM, capacity=3, segment_length=LENGTH), torch.randn(2, 2, DIM)
    assert not queue.read(query, queue.init_state(2)).any()
    full, short = torch.randn(2, LENGTH, DIM), torch.randn(2, 1, DIM)
    state = queue.write(queue.write(queue.init_state(2), full), short)
    past = torch.cat([full, short], dim=1)
    assert_close(queue.read(query, state), F.scaled_dot_product_attention(query, past, past))
    report = memory_report(state, queue.read_weights(query, state))
    assert (report.written, report.capacity, report.memory_mass) == (10, 24, pytest.approx(1))


def test_recalled_values_have_the_type_of_the_query() -> None:
    queue = SegmentQueue(DIM, capacity=1, segment_length=LENGTH)
    state = queue.write(queue.init_state(1), torch.randn(1, LENGTH, DIM).bfloat16())
    assert state.segments.items.dtype == torch.float32
    assert queue.read(torch.randn(1, 1, DIM).bfloat16(), state).dtype == torch.bfloat16


def test_a_nan_stays_in_its_row() -> None:
    queue, values = SegmentQueue(DIM, capacity=1, segment_length=LENGTH), torch.randn(2, LENGTH, DIM)
    values[0] = torch.nan
    recalled = queue.read(torch.randn(2, 1, DIM), queue.write(queue.init_state(2), values))
    assert recalled.isnan().flatten(1).any(1).tolist() == [True, False]


def test_segments_without_frames_change_nothing() -> None:
    queue = SegmentQueue(DIM, capacity=1, segment_length=LENGTH)
    start = queue.write(queue.init_state(2), torch.randn(2, LENGTH, DIM))
    output, state = queue(torch.empty(2, 0, DIM), start)
    assert output.shape == (2, 0, DIM)
    assert state is start
    state = queue.write(start, torch.randn(2, 3, DIM), padding=torch.ones(2, 3, dtype=torch.bool))
    assert_close(state.tensors(), start.tensors())


def test_stored_frames_carry_no_graph() -> None:
    values = torch.randn(1, LENGTH, DIM, requires_grad=True)
    for detach, carries in (("stored", False), ("never", True)):
        queue = SegmentQueue(DIM, detach=detach)  # type: ignore[arg-type]
        assert queue.write(queue.init_state(1), values).segments.items.requires_grad is carries


def test_impossible_sizes_are_refused() -> None:
    for sizes in ({"capacity": 0}, {"segment_length": 0}, {"stride": 0}):
        with pytest.raises(ValueError, match="must be at least 1"):
            SegmentQueue(DIM, **sizes)
    # A TypeError where the tests check types, a ValueError where nobody does.
    with pytest.raises((ValueError, TypeError), match="middle"):
        SegmentQueue(DIM, sample_from="middle")  # type: ignore[arg-type]


# Parity with the released code, which keeps [slot frame, batch, dim] oldest first, with zeros before the first.


def cases() -> list[object]:
    return [pytest.param(case, id=case.name) for case in golden_cases("matr", FOLDER / "matr", prefix="stream")]


def released_layout(state: SegmentQueueState) -> tuple[Tensor, Tensor]:
    free = state.segments.capacity - state.segments.count
    frames = [row.roll(int(places), 0) for row, places in zip(state.segments.ordered(), free, strict=True)]
    index = [row.roll(int(places), 0) for row, places in zip(state.marks.ordered()[..., 0], free, strict=True)]
    is_empty = torch.arange(state.segments.capacity) < free[:, None]
    queue = torch.stack(frames).flatten(1, 2).transpose(0, 1)
    return queue, torch.stack(index).masked_fill(is_empty, EMPTY_INDEX).T


@pytest.mark.golden
@pytest.mark.parametrize("rule", ["pred", "gt"])
@pytest.mark.parametrize("case", cases())
def test_a_stream_of_two_videos_equals_the_released_queue(case: GoldenCase, rule: str) -> None:
    sizes, videos = case.config, case.info["videos"]
    queue = SegmentQueue(sizes["hidden_dim"], capacity=sizes["max_memory_len"], segment_length=sizes["num_frame"])
    state = queue.init_state(sizes["batch"])
    for index, video in enumerate(videos):
        if index and video != videos[index - 1]:
            state = queue.reset(state, torch.ones(sizes["batch"], dtype=torch.bool))
        predicted = case.outputs[f"{index}.{rule}.pred_flag"][:, 0] > sizes["flag_threshold"]
        flag = case.inputs[f"{index}.segment_flag"].bool() if rule == "gt" else predicted
        window = case.outputs[f"{index}.projected"].transpose(0, 1)
        state = queue.write(state, window, store=flag, now=case.inputs[f"{index}.current_frame"])
        frames, frame_index = released_layout(state)
        case.assert_output(f"{index}.{rule}.memory_queue", frames)
        case.assert_output(f"{index}.{rule}.memory_queue_index", frame_index.to(frames.dtype))
