from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_speech.features import FeatureConfig, Features, Normalizer
from mnemic_speech.simultaneous.checkpoint import TranslationSettings, Translator
from mnemic_speech.simultaneous.config import SegmentConfig, SegmentEncoderConfig, SimultaneousConfig
from mnemic_speech.simultaneous.model import AugmentedMemoryTransformer
from mnemic_speech.simultaneous.policies import PolicyConfig
from mnemic_speech.simultaneous.stream import TranslationStream, WrittenWord, translate
from mnemic_speech.text import WordTokenizer

ENCODER = SegmentEncoderConfig(
    num_mels=8, dim=16, num_heads=2, ffn_dim=24, num_layers=2, conv_channels=4, segments=SegmentConfig(32, 16, 16)
)
RATE = 8000
FEATURES = FeatureConfig(kind="kaldi", sample_rate=RATE, num_mels=8, n_fft=256, window=200, hop=80)


@pytest.fixture
def translator() -> Translator:
    torch.manual_seed(3)
    tokenizer = WordTokenizer(["eins", "zwei", "drei", "vier"])
    config = SimultaneousConfig(tokenizer.vocab_size, ENCODER, decoder_layers=1, decoder_ffn_dim=24, ratio=4)
    model = AugmentedMemoryTransformer(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    settings = TranslationSettings(PolicyConfig(k=2))
    return Translator(model, settings, {}, Features(FEATURES), Normalizer("global", 8), tokenizer)


@pytest.fixture
def speech() -> Tensor:
    torch.manual_seed(0)
    return 0.3 * torch.randn(2 * RATE)


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


def test_silence_nothing_and_too_little_are_no_traceback(translator: Translator) -> None:
    with pytest.raises(UserError, match="no samples"):
        translate(translator, torch.zeros(0))
    assert isinstance(translate(translator, torch.zeros(100)), list)  # less than one frame
    with pytest.raises(UserError, match=r"NaN or infinite at 0\.000 s"):
        translate(translator, torch.full((100,), torch.nan))


def test_features_of_whole_utterances_are_refused(translator: Translator) -> None:
    with pytest.raises(UserError, match="cannot be streamed"):
        TranslationStream(replace(translator, normalizer=Normalizer("utterance", 8)))
