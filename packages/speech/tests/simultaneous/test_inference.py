from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_speech.simultaneous import SimultaneousTranslator, TranslationSettings, Translator, WrittenWord

RATE = 8000


@pytest.fixture
def recording(speech: Tensor) -> Tensor:
    """Return two utterances of 2 and 1 s between silences."""
    quiet = 1e-4 * torch.randn(RATE, generator=torch.Generator().manual_seed(1))
    return torch.cat([quiet, speech, quiet, speech[:RATE], quiet])


@pytest.fixture
def begin(translator: Translator) -> Callable[..., SimultaneousTranslator]:
    def make(**changes: object) -> SimultaneousTranslator:
        return SimultaneousTranslator(translator, replace(translator.settings, **changes))

    return make


def run(session: SimultaneousTranslator, samples: Tensor, size: int) -> list[WrittenWord]:
    return [word for piece in samples.split(size) for word in session.push(piece)] + session.finish()


def test_each_utterance_is_translated_while_it_is_spoken(
    begin: Callable[..., SimultaneousTranslator], recording: Tensor
) -> None:
    words = run(begin(), recording, 800)
    assert {word.utterance for word in words} == {0, 1}
    first, second = ([word.seconds for word in words if word.utterance == number] for number in (0, 1))
    assert first == sorted(first)
    assert second == sorted(second)
    assert 1 < first[0] < 2  # after two decisions of 160 ms, and not at the end of the utterance
    assert 4 < second[0] < second[-1] <= 6


@pytest.mark.parametrize("size", [100, 333, 8000, 40000])
def test_words_do_not_depend_on_the_pieces(
    begin: Callable[..., SimultaneousTranslator], recording: Tensor, size: int
) -> None:
    texts = [(word.text, word.utterance) for word in run(begin(), recording, 800)]
    assert [(word.text, word.utterance) for word in run(begin(), recording, size)] == texts


def test_speech_without_a_pause_is_cut_and_no_sample_is_heard_twice(
    begin: Callable[..., SimultaneousTranslator],
) -> None:
    torch.manual_seed(2)
    session = begin(max_seconds=2.0)
    words = run(session, torch.cat([torch.zeros(RATE), 0.3 * torch.randn(9 * RATE)]), 800)
    assert len({word.utterance for word in words}) >= 4
    assert [word.seconds for word in words] == sorted(word.seconds for word in words)


def test_a_session_is_saved_and_continued(
    begin: Callable[..., SimultaneousTranslator], recording: Tensor, tmp_path: Path
) -> None:
    whole = run(begin(), recording, 800)
    session = begin()
    words = [word for piece in recording[: 2 * RATE].split(800) for word in session.push(piece)]
    session.save(tmp_path / "half.safetensors")
    again = begin()
    again.load(tmp_path / "half.safetensors")
    assert words + run(again, recording[2 * RATE :], 800) == whole
    assert again.seconds == 0  # ready for another recording


def test_what_a_session_keeps_does_not_grow(begin: Callable[..., SimultaneousTranslator], recording: Tensor) -> None:
    session, sizes = begin(), []
    for _ in range(4):
        for piece in recording.split(800):
            session.push(piece)
        sizes.append(sum(tensor.numel() for tensor in _tensors(session.state_dict())))
    assert sizes[1] == sizes[2] == sizes[3]


def test_silence_gives_no_word(begin: Callable[..., SimultaneousTranslator]) -> None:
    assert run(begin(), torch.zeros(3 * RATE), 800) == []


def test_times_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(UserError, match="much less than max_seconds"):
        TranslationSettings(min_silence=3.0, max_seconds=2.0)


def _tensors(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return [tensor for each in value.values() for tensor in _tensors(each)]
    return [tensor for each in value for tensor in _tensors(each)] if isinstance(value, list | tuple) else []
