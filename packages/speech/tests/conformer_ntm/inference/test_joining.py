from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic_speech.conformer_ntm.joining import find_border, split_words
from mnemic_speech.transcript import Word

START, END = 8.0, 10.0  # of the overlap
JITTER = 0.04  # a frame


def spoken(lengths: list[tuple[float, float]]) -> list[Word]:
    """Return words given as (pause before, seconds), from 6 s to the end of the second segment at 12 s."""
    clock, words = 6.0, []
    for number, (pause, seconds) in enumerate(lengths):
        words.append(Word(str(number), clock + pause, clock + pause + seconds))
        clock += pause + seconds
    return [word for word in words if word.end <= 12.0]


@given(
    st.lists(st.tuples(st.floats(0.1, 0.6), st.floats(0.05, 0.5)), min_size=4, max_size=20),
    st.lists(st.floats(-JITTER, JITTER), min_size=20, max_size=20),
)
def test_no_word_is_lost_or_doubled_though_the_segments_tell_other_times(
    lengths: list[tuple[float, float]], jitter: list[float]
) -> None:
    words = spoken(lengths)
    moved = [Word(word.text, word.start + by, word.end + by) for word, by in zip(words, jitter, strict=False)]
    # A word cut by the end of a segment is recognized as another one there.
    first = [Word("cut", w.start, END) if w.end > END else w for w in words if w.start < END]
    second = [Word("cut", START, w.end) if w.start < START else w for w in moved if w.end > START]
    border = find_border(first, START, END)
    joined = split_words(first, border)[0] + split_words(second, border)[1]
    assert [word.text for word in joined] == [word.text for word in words]


@pytest.mark.parametrize(
    ("words", "border"),
    [
        ([], 9.0),
        ([(7.0, 7.5), (9.2, 9.6)], (8.5 + 9.2) / 2),  # only the middle half of the overlap counts
        ([(7.0, 8.7), (8.9, 9.0), (9.3, 11.0)], 9.15),
        ([(7.0, 11.0)], 9.0),  # one endless word
    ],
)
def test_the_border_is_in_the_middle_of_the_widest_gap(words: list[tuple[float, float]], border: float) -> None:
    assert find_border([Word("x", *times) for times in words], START, END) == pytest.approx(border)


def test_a_word_belongs_to_the_side_of_its_middle() -> None:
    words = [Word(str(number), float(number), number + 1.0) for number in range(4)]
    before, after = split_words(words, 1.5)
    assert [word.text for word in before] == ["0"]
    assert [word.text for word in after] == ["1", "2", "3"]
    assert all(a.end <= b.start for a, b in pairwise(before + after))
