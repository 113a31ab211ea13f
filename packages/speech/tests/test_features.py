import os
from pathlib import Path

import pytest
import torch
from golden_files import GoldenCase, golden_cases
from torch import Tensor
from torch.testing import assert_close

from mnemic_core.testing import unchecked_annotations
from mnemic_speech.features import FeatureConfig, Features, FeatureStream, Normalizer

FOLDER = Path(__file__).parent / "golden"
SMALL = {"sample_rate": 8000, "num_mels": 20, "n_fft": 256, "window": 200, "hop": 80}
CONFIGS = {
    "log_mel": FeatureConfig(**SMALL),
    "kaldi": FeatureConfig("kaldi", **SMALL),
    "long hop": FeatureConfig(**SMALL | {"hop": 300}),
    "paper": FeatureConfig(),
}
EACH_CONFIG = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)) * 0.1


def features_cases() -> list[object]:
    cases = golden_cases("speech", FOLDER, "i_")
    assert cases or "MNEMIC_GOLDEN_DIR" in os.environ, "no golden case i_*"
    return [pytest.param(case, id=case.name) for case in cases]


@pytest.mark.golden
@pytest.mark.parametrize("case", features_cases())
def test_espnet_log_mel(case: GoldenCase) -> None:
    num_mels = case.outputs["logmel"].shape[2]
    features = Features(FeatureConfig(num_mels=num_mels, whole_batch=True))
    assert_close(features.melmat, case.state["melmat"])
    values, lengths = features(case.inputs["wave"], case.inputs["wave_lengths"])
    case.assert_output("logmel", values)
    assert torch.equal(lengths, case.outputs["logmel_lengths"])


@pytest.mark.golden
@pytest.mark.parametrize("case", features_cases())
def test_kaldi_filter_banks(case: GoldenCase) -> None:
    expected = case.outputs["kaldi_fbank_item0"]
    values, lengths = Features(FeatureConfig("kaldi", num_mels=expected.shape[1]))(case.inputs["wave"][:1])
    case.assert_output("kaldi_fbank_item0", values[0])
    assert lengths.tolist() == [len(expected)]


@EACH_CONFIG
def test_a_padded_item_has_the_features_that_it_has_alone(config: FeatureConfig) -> None:
    waveform, lengths, features = noise(5, 3000), torch.tensor([3000, 2999, 700, 130, 0]), Features(config)
    for row, length in zip(waveform, lengths, strict=True):
        row[length:] = torch.nan
    values, frames = features(waveform, lengths)
    assert torch.equal(frames, features.frame_lengths(lengths))
    for row, length, count in zip(range(5), lengths, frames, strict=True):
        assert_close(values[row, :count], features(waveform[row : row + 1, :length])[0][0])
        assert not values[row, count:].any()


def test_the_end_is_mirrored_as_by_stft_with_reflection() -> None:
    config, waveform = CONFIGS["log_mel"], noise(2, 1000)
    features = Features(config)
    spectrum = torch.stft(
        waveform, config.n_fft, config.hop, config.window, torch.hann_window(config.window), return_complex=True
    )
    expected = (spectrum.abs().square().mT @ features.melmat).clamp(min=1e-10).log()
    assert_close(features(waveform)[0], expected)


def test_silence_is_the_floor() -> None:
    values, _ = Features(CONFIGS["log_mel"])(torch.zeros(1, 400))
    assert_close(values, torch.full_like(values, 1e-10).log())


@pytest.mark.parametrize(
    ("length", "size"), [(0, 1), (1, 1), (50, 7), (128, 37), (129, 1), (199, 80), (1600, 37), (2417, 900), (2417, 5000)]
)
@EACH_CONFIG
def test_streamed_equals_offline(config: FeatureConfig, length: int, size: int) -> None:
    waveform, features = noise(length), Features(config)
    stream = FeatureStream(features)
    for _ in range(2):  # a finished stream can be reused
        pieces = [*(stream.push(piece) for piece in waveform.split(size)), stream.finish()]
        assert_close(torch.cat(pieces), features(waveform[None])[0][0], rtol=1e-5, atol=1e-5)


@EACH_CONFIG
def test_a_stream_holds_no_more_than_a_few_windows(config: FeatureConfig) -> None:
    stream = FeatureStream(Features(config))
    for _ in range(10):
        stream.push(noise(1000))
        assert stream.state_dict()["held"].numel() <= 2 * config.span + config.hop


@EACH_CONFIG
def test_a_saved_stream_continues(config: FeatureConfig) -> None:
    features, waveform = Features(config), noise(3000)
    first, second = FeatureStream(features), FeatureStream(features)
    before = first.push(waveform[:1111])
    second.load_state_dict(first.state_dict())
    first.push(torch.ones(100))
    values = torch.cat([before, second.push(waveform[1111:]), second.finish()])
    assert_close(values, features(waveform[None])[0][0], rtol=1e-5, atol=1e-5)


def test_half_precision_around_it_changes_nothing() -> None:
    features, waveform = Features(CONFIGS["log_mel"]), noise(1, 800)
    with torch.autocast("cpu", torch.bfloat16):
        values, _ = features(waveform)
    assert torch.equal(values, features(waveform)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "mfcc"}, "kind must be one of log_mel, kaldi, got 'mfcc'"),
        ({"window": 600}, "window must be between 1 and 512, got 600"),
        ({"hop": 0}, "hop must be at least 1, got 0"),
        ({"max_frequency": 9000.0}, "half of sample_rate=16000, got 9000"),
        ({"kind": "kaldi", "n_fft": 1024}, "window=400 need n_fft=512, got 1024"),
    ],
)
def test_an_impossible_configuration_is_named(options: dict[str, object], message: str) -> None:
    with unchecked_annotations(), pytest.raises(ValueError, match=message):
        FeatureConfig(**options)


@pytest.mark.filterwarnings("ignore:At least one mel filterbank")
def test_filters_that_the_transform_cannot_tell_apart_are_named() -> None:
    with pytest.raises(ValueError, match=r"num_mels=80 filters are empty: n_fft=128"):
        Features(FeatureConfig(sample_rate=8000, n_fft=128, window=100))


def batch_of(utterances: list[Tensor]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(utterance) for utterance in utterances])
    return torch.nn.utils.rnn.pad_sequence(utterances, batch_first=True, padding_value=torch.nan), lengths


def test_a_fitted_normalizer_gives_the_training_set_mean_0_and_deviation_1() -> None:
    utterances = [torch.randn(length, 3) * 5 + 7 for length in (40, 9, 1)]
    normalizer = Normalizer.fit(iter(utterances))
    values, lengths = batch_of(utterances)
    normalized = normalizer(values, lengths)
    kept = torch.cat([row[:length] for row, length in zip(normalized, lengths, strict=True)])
    assert_close(kept.mean(0), torch.zeros(3), rtol=0, atol=1e-5)
    assert_close(kept.std(0, correction=0), torch.ones(3))
    assert not normalized[2, 1:].any()


def test_an_utterance_is_normalized_by_itself() -> None:
    values, lengths = batch_of([torch.randn(12, 3) * 5 + 7, torch.ones(4, 3)])
    normalized = Normalizer("utterance", 3)(values, lengths)
    expected = (values[0] - values[0].mean(0)) / values[0].std(0, correction=0)
    assert_close(normalized[0], expected)
    assert not normalized[1].any()


def test_no_normalization_only_clears_the_padding() -> None:
    values, lengths = batch_of([torch.randn(5, 3), torch.randn(2, 3)])
    assert torch.equal(Normalizer("none", 3)(values, lengths), values.nan_to_num(0.0))


def test_a_normalizer_is_part_of_a_checkpoint() -> None:
    fitted, loaded = Normalizer.fit([torch.randn(9, 3)]), Normalizer("global", 3)
    loaded.load_state_dict(fitted.state_dict())
    values, lengths = batch_of([torch.randn(5, 3)])
    assert torch.equal(loaded(values, lengths), fitted(values, lengths))


def test_a_normalizer_needs_frames_and_a_known_kind() -> None:
    with unchecked_annotations(), pytest.raises(ValueError, match="global, utterance, none, got 'local'"):
        Normalizer("local")
    with pytest.raises(ValueError, match="no frame"):
        Normalizer.fit([torch.zeros(0, 3)])
