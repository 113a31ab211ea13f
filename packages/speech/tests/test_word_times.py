import pytest
import torch
from torch.testing import assert_close

from mnemic_speech.transcript import Word
from mnemic_speech.word_times import extend_words

RATE = 8000
SPEECH = [(0.5, 0.9), (1.2, 1.6), (1.65, 2.0)]


def bursts(*spans: tuple[float, float], seconds: float = 2.5, noise: float = 0.001) -> torch.Tensor:
    torch.manual_seed(0)
    samples = noise * torch.randn(round(seconds * RATE))
    for start, end in spans:
        first, last = round(start * RATE), round(end * RATE)
        samples[first:last] += 0.2 * torch.randn(last - first)
    return samples


def peaks(*times: float) -> list[Word]:
    return [Word(f"word{index}", time, time + 0.04) for index, time in enumerate(times)]


def times(words: tuple[Word, ...]) -> list[tuple[float, float]]:
    return [(word.start, word.end) for word in words]


def test_words_reach_from_the_beginning_to_the_end_of_their_sound() -> None:
    found = extend_words(peaks(0.8, 1.3, 1.8), bursts(*SPEECH), RATE)
    assert_close(times(found), SPEECH, atol=0.021, rtol=0)


def test_a_short_silence_within_a_word_belongs_to_it() -> None:
    found = extend_words(peaks(0.7), bursts((0.4, 0.6), (0.7, 0.9)), RATE)
    assert_close(times(found), [(0.4, 0.9)], atol=0.021, rtol=0)


def test_words_do_not_overlap_where_there_is_no_silence_between_them() -> None:
    first, second = extend_words(peaks(0.6, 1.2), bursts((0.4, 1.4)), RATE)
    assert 0.64 <= first.end <= second.start <= 1.2


def test_quiet_sound_between_two_words_and_far_from_them_belongs_to_none() -> None:
    [found] = extend_words(peaks(0.7), bursts((0.5, 0.8), (1.2, 1.5)), RATE)
    assert found.end == pytest.approx(0.8, abs=0.021)


@pytest.mark.parametrize("count", [0, 1, 50, 400])
def test_recordings_of_any_length_keep_their_words_within_them(count: int) -> None:
    [found] = extend_words([Word("a", 0.0, count / RATE)], torch.randn(count), RATE)
    assert 0 <= found.start <= found.end <= count / RATE


def test_silence_changes_nothing_but_rounding() -> None:
    assert_close(times(extend_words(peaks(0.8), torch.zeros(2 * RATE), RATE)), [(0.8, 0.84)], atol=0.011, rtol=0)
