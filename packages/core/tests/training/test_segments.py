import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mnemic_core import ExponentialMemory
from mnemic_core.training import gradient_reach, join_segments, run_segments, split_segments


@settings(deadline=None, max_examples=40)
@given(time=st.integers(1, 9), length=st.integers(1, 5), align=st.sampled_from(["left", "right", "center"]))
def test_no_token_is_dropped(time: int, length: int, align: str) -> None:
    x = torch.arange(2 * time * 3).view(2, time, 3)
    segments, paddings = split_segments(x, length, align=align)
    kept = torch.cat([segment[~padding] for segment, padding in zip(segments, paddings, strict=True)])
    assert sorted(kept.flatten().tolist()) == x.flatten().tolist()
    assert {segment.shape for segment in segments} == {(2, length, 3)}
    assert torch.equal(join_segments(segments, time, align=align), x)


@pytest.mark.parametrize(
    ("align", "expected"),
    [
        ("left", [[1, 2, 3, 4], [5, 6, 0, 0]]),
        ("right", [[0, 0, 1, 2], [3, 4, 5, 6]]),
        ("center", [[0, 1, 2, 3], [4, 5, 6, 0]]),
    ],
)
def test_alignment_places_the_padding(align: str, expected: list[list[int]]) -> None:
    segments, paddings = split_segments(torch.arange(1, 7)[None], 4, align=align)
    assert [segment[0].tolist() for segment in segments] == expected
    assert all(torch.equal(padding, segment == 0) for padding, segment in zip(paddings, segments, strict=True))


def test_given_padding_is_kept() -> None:
    padding = torch.tensor([[False, True, False]])
    _, paddings = split_segments(torch.ones(1, 3), 2, padding=padding)
    assert [part.tolist() for part in paddings] == [[[False, True]], [[False, True]]]


def test_an_empty_sequence_gives_no_segments() -> None:
    assert split_segments(torch.zeros(2, 0, 3), 4) == ([], [])


@pytest.mark.parametrize(("length", "align", "message"), [(0, "left", "at least 1, got 0"), (2, "top", "'top'")])
def test_impossible_splits_are_refused(length: int, align: str, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):  # TypeError where the tests check types
        split_segments(torch.zeros(1, 3), length, align=align)


def test_running_segments_equals_calling_by_hand() -> None:
    memory, x = ExponentialMemory(4), torch.randn(2, 5, 4)
    segments, paddings = split_segments(x, 2)
    reset = torch.tensor([[False, False], [True, False], [False, True]])
    outputs, state = run_segments(memory, segments, memory.init_state(2), paddings=paddings, reset=reset)
    expected = memory.init_state(2)
    for index, output in enumerate(outputs):
        by_hand, expected = memory(segments[index], expected, padding=paddings[index], reset=reset[index])
        assert_close(output, by_hand)
    assert_close(state.tensors(), expected.tensors())


@pytest.mark.parametrize("bptt", [None, 1, 2])
def test_gradients_cross_no_boundary_that_bptt_cuts(bptt: int | None) -> None:
    memory = ExponentialMemory(4, detach="never")
    reach = gradient_reach(
        lambda segments: run_segments(memory, segments, memory.init_state(1), bptt=bptt)[0],
        list(torch.randn(5, 1, 2, 4)),
    )
    span = bptt or 5
    wanted = [[source < output and source // span == output // span for source in range(5)] for output in range(5)]
    assert (reach > 0).tolist() == wanted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bptt": 0}, "bptt must be at least 1"),
        ({"paddings": []}, "paddings must have one entry for each of the 1 segments, got 0"),
        ({"reset": torch.zeros(2, 1, dtype=torch.bool)}, "reset must have one entry .* got 2"),
    ],
)
def test_unfitting_options_are_refused(options: dict[str, object], message: str) -> None:
    memory = ExponentialMemory(4)
    with pytest.raises(ValueError, match=message):
        run_segments(memory, [torch.zeros(1, 2, 4)], memory.init_state(1), **options)
