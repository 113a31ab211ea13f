from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_speech.features import Normalizer
from mnemic_speech.simultaneous.checkpoint import Translator
from mnemic_speech.simultaneous.policies import PolicyConfig
from mnemic_speech.simultaneous.stream import TranslationStream, translate
from mnemic_speech.simultaneous.streams import TranslationStreams, WrittenWord
from mnemic_speech.text import WordTokenizer

RATE = 8000


def in_pieces(stream: TranslationStream, samples: Tensor, size: int) -> list[WrittenWord]:
    words = [word for piece in samples.split(size) for word in stream.push(piece)]
    return words + stream.finish()


@pytest.mark.parametrize("size", [1, 37, 400, 5000])
def test_words_and_times_do_not_depend_on_the_pieces(translator: Translator, speech: Tensor, size: int) -> None:
    samples = speech[: RATE // 2] if size == 1 else speech
    whole = translate(translator, samples)
    assert whole
    found = in_pieces(TranslationStream(translator), samples, size)
    assert [word.text for word in found] == [word.text for word in whole]
    # Pushed at once, all words are written when the last sample has been heard or a chunk before it ended.
    assert [word.seconds for word in found] == [word.seconds for word in whole]


def test_the_first_word_waits_for_k_decisions(translator: Translator, speech: Tensor) -> None:
    first, second = (
        translate(translator, speech, settings=replace(translator.settings, policy=PolicyConfig(k=k)))[0].seconds
        for k in (1, 4)
    )
    assert first < second  # four decisions of 160 ms are more than one


def test_words_with_marked_ends_do_not_wait_for_the_next_one(translator: Translator, speech: Tensor) -> None:
    class Marked(WordTokenizer):
        def _surface(self, piece: str) -> str:
            return f"{piece} "

    late = translate(translator, speech)
    soon = translate(replace(translator, tokenizer=Marked(["eins", "zwei", "drei", "vier"])), speech)
    assert [word.text for word in soon] == [word.text for word in late]
    assert all(word.seconds <= other.seconds for word, other in zip(soon, late, strict=True))
    assert soon[0].seconds == pytest.approx(late[0].seconds - 0.16)  # one decision


def test_languages_without_spaces_are_written_token_by_token(translator: Translator, speech: Tensor) -> None:
    class Pieces(WordTokenizer):
        def _surface(self, piece: str) -> str:
            return piece

    numbers = ["一", "二", "三", "四五"]
    spaced = translate(translator, speech)
    unspaced = translate(replace(translator, tokenizer=Pieces(numbers), target="zh"), speech)
    assert len(unspaced) == len(spaced)
    assert {word.text for word in unspaced} <= set(numbers)
    assert unspaced[0].seconds == pytest.approx(spaced[0].seconds - 0.16)


def test_a_session_is_saved_and_continued(translator: Translator, speech: Tensor, tmp_path: Path) -> None:
    whole = translate(translator, speech)
    stream = TranslationStream(translator)
    words = stream.push(speech[: RATE + 123])
    stream.save(tmp_path / "half.safetensors")
    again = TranslationStream(translator)
    again.load(tmp_path / "half.safetensors")
    assert words + again.push(speech[RATE + 123 :]) + again.finish() == whole


def test_a_checkpoint_holds_everything(translator: Translator, speech: Tensor, tmp_path: Path) -> None:
    translator.save(tmp_path / "a.safetensors")
    loaded = Translator.load(tmp_path / "a.safetensors")
    assert (loaded.source, loaded.target, loaded.settings) == ("en", "de", translator.settings)
    assert translate(loaded, speech) == translate(translator, speech)


def test_another_sampling_rate_is_converted(translator: Translator, speech: Tensor) -> None:
    doubled = torch.nn.functional.interpolate(speech[None, None], scale_factor=2, mode="linear")[0, 0]
    assert translate(translator, doubled, sample_rate=2 * RATE)


def test_a_stream_begins_anew_after_its_end(translator: Translator, speech: Tensor) -> None:
    stream = TranslationStream(translator)
    first = stream.push(speech) + stream.finish()
    assert stream.push(speech) + stream.finish() == first


@pytest.mark.parametrize("policy", [PolicyConfig(k=2), PolicyConfig("local_agreement"), PolicyConfig("hold_n", n=2)])
def test_utterances_of_a_batch_are_as_alone_and_end_in_any_order(
    translator: Translator, speech: Tensor, policy: PolicyConfig
) -> None:
    settings = replace(translator.settings, policy=policy)
    long, short, other = speech, speech[3000:9000], speech[5000:14000]
    streams = TranslationStreams(translator, 2, settings)
    found: list[list[WrittenWord]] = [[], [], []]

    def push(first: Tensor | None, second: Tensor | None, slots: tuple[int, int]) -> None:
        for slot, words in zip(slots, streams.push([first, second]), strict=True):
            found[slot] += words

    push(long[:6000], short[:1000], (0, 1))
    push(None, short[1000:], (0, 1))
    push(long[6000:9000], None, (0, 1))
    found[1] += streams.finish([1])[1]  # the second utterance ends, and another one begins in its place
    push(long[9000:], other[:4000], (0, 2))
    found[0] += streams.finish([0])[0]
    push(None, other[4000:], (0, 2))
    found[2] += streams.finish()[1]
    assert found == [translate(translator, each, settings=settings) for each in (long, short, other)]


def test_what_streams_keep_does_not_grow_from_utterance_to_utterance(translator: Translator, speech: Tensor) -> None:
    streams, sizes = TranslationStreams(translator, 2), []
    for _ in range(3):
        streams.push([speech[:9000], speech])
        streams.finish([0])
        streams.finish([1])
        sizes.append({name: tensor.shape for name, tensor in streams.decoding.tensors().items()})
    assert sizes[0] == sizes[1] == sizes[2]
    assert streams.decoding.decoder.source.allowed.shape[1] == 0


def test_a_batch_needs_samples_for_each_utterance(translator: Translator, speech: Tensor) -> None:
    streams = TranslationStreams(translator, 2)
    with pytest.raises(UserError, match="expected samples for 2 utterances, got 1"):
        streams.push([speech])
    with pytest.raises(UserError, match="NaN or infinite"):
        streams.push([speech, torch.full((10,), torch.nan)])
    assert streams.seconds(0) == 0  # unchanged, though its own samples were good


def test_silence_nothing_and_too_little_are_no_traceback(translator: Translator) -> None:
    with pytest.raises(UserError, match="no samples"):
        translate(translator, torch.zeros(0))
    assert isinstance(translate(translator, torch.zeros(100)), list)  # less than one frame
    with pytest.raises(UserError, match=r"NaN or infinite at 0\.000 s"):
        translate(translator, torch.full((100,), torch.nan))


def test_features_of_whole_utterances_are_refused(translator: Translator) -> None:
    with pytest.raises(UserError, match="cannot be streamed"):
        TranslationStream(replace(translator, normalizer=Normalizer("utterance", 8)))
