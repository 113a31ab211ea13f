"""Half an hour of recorded digits through the shipped recognizer: nothing lost, nothing twice, nothing that grows."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import jiwer
import pytest
from torch import Tensor

from mnemic_speech.transcript import Word
from mnemic_transcribe.checkpoints import open_transcriber
from mnemic_transcribe.digits import SAMPLE_RATE, DigitString, read_digit_strings, render

DIGITS = Path(__file__).parents[4] / "shared/data/speech_digits"
SECONDS = 1800

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DIGITS.is_dir(), reason="no shared/data/speech_digits beside the checkout"),
]


@dataclass(frozen=True)
class Recording:
    """Strings one after the other, and every digit of them with where it is."""

    blocks: list[Tensor]
    spoken: list[Word]


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Return strings of all speakers in random order until they last half an hour."""
    strings = read_digit_strings(DIGITS, "dev") + read_digit_strings(DIGITS, "dev_long")
    dice, blocks, spoken, samples = random.Random(0), list[Tensor](), list[Word](), 0
    while samples < SECONDS * SAMPLE_RATE:
        string = dice.choice(strings)
        blocks.append(render(string, seed=len(blocks)))
        spoken += digits_of(string, samples / SAMPLE_RATE)
        samples += len(blocks[-1])
    return Recording(blocks, spoken)


@pytest.fixture(scope="module")
def recognized(recording: Recording) -> tuple[list[Word], list[int]]:
    """Return the words found in the recording, and the bytes of the stream's state after each string."""
    stream = open_transcriber(device="cpu").stream(SAMPLE_RATE)
    words, sizes = list[Word](), list[int]()
    for block in recording.blocks:
        words += [word for segment in stream.push(block) for word in segment.words]
        sizes.append(sum(tensor.nbytes for tensor in tensors_in(stream.state_dict())))
    return words + [word for segment in stream.finish() for word in segment.words], sizes


def digits_of(string: DigitString, start: float) -> Iterator[Word]:
    """Yield the digits of a string that begins at ``start`` seconds."""
    start += string.lead_ms / 1000
    for take, name in zip(string.takes, string.text.split(), strict=True):
        whole = DigitString(string.id, string.split, string.speaker, name, 0.0, 0, (take,))
        following = start + len(render(whole)) / SAMPLE_RATE
        yield Word(name, start, following - take.pause_ms / 1000)
        start = following


def tensors_in(value: object) -> Iterator[Tensor]:
    """Yield the tensors in nested dictionaries and lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors_in(item)


def test_no_stretch_is_lost_or_repeated(recording: Recording, recognized: tuple[list[Word], list[int]]) -> None:
    aligned = jiwer.process_words(text_of(recording.spoken), text_of(recognized[0]))
    wrong = [part for part in aligned.alignments[0] if part.type != "equal"]
    lost = [part.ref_end_idx - part.ref_start_idx for part in wrong if part.type == "delete"]
    added = [part.hyp_end_idx - part.hyp_start_idx for part in wrong if part.type == "insert"]
    assert max(lost, default=0) <= 2, "a gap"
    assert max(added, default=0) <= 2, "inserted or repeated words"
    assert abs(len(recognized[0]) - len(recording.spoken)) < 0.01 * len(recording.spoken)
    assert aligned.wer < 0.04


def test_word_times_match_the_speech(recording: Recording, recognized: tuple[list[Word], list[int]]) -> None:
    aligned = jiwer.process_words(text_of(recording.spoken), text_of(recognized[0]))
    pairs = [
        (recording.spoken[part.ref_start_idx + offset], recognized[0][part.hyp_start_idx + offset])
        for part in aligned.alignments[0]
        if part.type == "equal"
        for offset in range(part.ref_end_idx - part.ref_start_idx)
    ]
    apart = [max(said.start - word.end, word.start - said.end) for said, word in pairs]
    assert max(apart) < 0.2, "seconds between a word and where it was said"


def test_words_do_not_overlap(recognized: tuple[list[Word], list[int]]) -> None:
    assert all(word.end <= following.start + 1e-6 for word, following in pairwise(recognized[0]))


def test_errors_do_not_increase_towards_the_end(recording: Recording, recognized: tuple[list[Word], list[int]]) -> None:
    third = recording.spoken[-1].end / 3
    bounds = (0.0, third, 2 * third, 3 * third)
    rates = [
        jiwer.wer(text_of(recording.spoken, low, high), text_of(recognized[0], low, high))
        for low, high in pairwise(bounds)
    ]
    assert rates[2] < rates[0] + 0.02


def test_the_state_of_the_stream_does_not_grow(recognized: tuple[list[Word], list[int]]) -> None:
    half = len(recognized[1]) // 2
    assert max(recognized[1][half:]) <= 1.1 * max(recognized[1][:half])


def text_of(words: list[Word], start: float = 0.0, end: float = float("inf")) -> str:
    """Return the words between two times."""
    return " ".join(word.text for word in words if start <= word.start < end)
