from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic_kit.data import EpochShare, ResumableLoader
from mnemic_lm.streams import TextStreams
from mnemic_lm.text import Corpus

START = 256


def corpus(*lengths: int) -> Corpus:
    """Return documents in which every token is another number."""
    numbers = torch.arange(sum(lengths)).split(list(lengths))
    return Corpus(tuple(numbers), START, sum(lengths))


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    segment_length=st.integers(1, 7),
    batch_size=st.integers(1, 5),
    segments_per_step=st.integers(1, 3),
)
def test_every_token_is_predicted_once_from_the_one_before(
    lengths: list[int], segment_length: int, batch_size: int, segments_per_step: int
) -> None:
    text = corpus(*lengths)
    streams = TextStreams(text, segment_length, batch_size, segments_per_step)
    pairs = [
        pair for step in streams for pair in zip(step.inputs[~step.padding], step.targets[~step.padding], strict=True)
    ]
    found = {int(target): int(given) for given, target in pairs}
    expected = {}
    for document in text.documents:
        expected |= dict(zip(document.tolist(), [START, *document.tolist()], strict=False))
    assert len(pairs) == text.num_tokens
    assert found == expected


def test_the_next_segment_of_a_stream_goes_on_where_the_last_one_ended() -> None:
    segments = [batch.inputs[0] for batch in TextStreams(corpus(24), segment_length=3, batch_size=2)]
    for before, after in pairwise(segments):
        assert torch.equal(after[:, 0], before[:, -1] + 1) or bool((before[:, 0] == START).any())
    assert torch.equal(torch.stack(segments)[:, 1].flatten(), torch.arange(11, 23))


def test_streams_and_documents_begin_with_a_reset() -> None:
    streams = TextStreams(corpus(4, 4), segment_length=2, batch_size=1)
    assert torch.stack([batch.reset[0, 0] for batch in streams]).tolist() == [True, False, True, False]
    streams = TextStreams(corpus(8), segment_length=2, batch_size=2)
    assert torch.cat([batch.reset for batch in streams]).tolist() == [[True, True], [False, False]]


def test_a_step_holds_several_segments_and_the_last_one_what_is_left() -> None:
    streams = TextStreams(corpus(10), segment_length=2, batch_size=1, segments_per_step=2)
    assert [len(batch) for batch in streams] == [2, 2, 1]
    assert streams[1].to("cpu").targets.flatten().tolist() == [4, 5, 6, 7]


def test_a_loader_continues_where_another_one_stopped() -> None:
    streams = TextStreams(corpus(10), segment_length=2, batch_size=1)
    first, second = (
        ResumableLoader(streams, EpochShare(3, seed=0), shuffle=False),
        ResumableLoader(streams, EpochShare(3, seed=0), shuffle=False),
    )
    begun = iter(first)
    used = [next(begun), next(begun)]
    second.load_state_dict(first.state_dict())
    targets = [batch.targets.flatten().tolist() for batch in (*used, *second)]
    assert len(second) == 5
    assert targets == [batch.targets.flatten().tolist() for batch in streams]


def test_the_epoch_after_one_that_was_cut_short_begins_with_its_first_step() -> None:
    streams = TextStreams(corpus(10), segment_length=2, batch_size=1)
    loader = ResumableLoader(streams, EpochShare(4, seed=0), shuffle=False)
    loader.load_state_dict({"epoch": 3, "used": 2})
    assert len(list(loader)) == 5


@pytest.mark.parametrize("name", ["segment_length", "batch_size", "segments_per_step"])
def test_sizes_below_one_are_refused(name: str) -> None:
    sizes = {"segment_length": 2, "batch_size": 1, "segments_per_step": 1, name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        TextStreams(corpus(3), **sizes)


def test_a_step_that_does_not_exist_is_refused() -> None:
    with pytest.raises(IndexError, match=r"0\.\.1, got 2"):
        TextStreams(corpus(4), segment_length=2, batch_size=1)[2]
