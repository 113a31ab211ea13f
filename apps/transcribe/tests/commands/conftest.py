"""An untrained recognizer of telephone keys, and recordings of them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor
from torch.nn import functional as F

from mnemic_core import MemoryConfig
from mnemic_speech.beam_search import BeamSearchConfig
from mnemic_speech.conformer_ntm import ConformerConfig, ConformerNtm, ConformerNtmConfig, Recognizer
from mnemic_speech.conformer_ntm.settings import TranscriptionSettings
from mnemic_speech.data import Utterance, write_manifest
from mnemic_speech.data.tones import ToneWorld
from mnemic_speech.features import FeatureConfig, Features, Normalizer
from mnemic_speech.text import WordTokenizer

RATE = 8000
WORDS = ("five", "nine", "one", "zero")
TEXTS = {"a": "one five nine", "b": "zero", "c": "five one nine zero five one"}


@cache
def say(text: str, sound: float = 0.16, pause: float = 0.2) -> Tensor:
    """Return the tones of words in faint noise, half a second of it before and after."""
    keys = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "star", "zero", "pound")
    time = np.arange(round(sound * RATE)) / RATE
    pieces = [np.zeros(RATE // 2)]
    for key in map(keys.index, text.split()):
        pair = (697, 770, 852, 941)[key // 3], (1209, 1336, 1477)[key % 3]
        fade = np.sqrt(np.sin(np.pi * time / sound))
        pieces += [0.15 * fade * sum(np.sin(2 * np.pi * tone * time) for tone in pair), np.zeros(round(pause * RATE))]
    clean = np.concatenate([*pieces, np.zeros(RATE // 2)])
    return torch.from_numpy(clean + 1e-3 * np.random.default_rng(0).standard_normal(len(clean))).float()


@pytest.fixture(scope="session")
def recognizer() -> Recognizer:
    """Return a network whose random features a least-squares fit turns into the words."""
    torch.manual_seed(0)
    encoder = ConformerConfig(num_mels=40, dim=96, num_heads=2, ffn_dim=8, num_layers=1, kernel_size=3, dropout=0.0)
    config = ConformerNtmConfig(
        len(WORDS) + 3,
        encoder,
        decoder_layers=1,
        decoder_ffn_dim=8,
        memory=MemoryConfig("turing_improved", {"slots": 4}),
    )
    model = ConformerNtm(config).eval()
    with torch.no_grad():
        for part in ("first_ffn.contract", "attention.output", "convolution.contract", "second_ffn.contract"):
            torch.nn.init.zeros_(model.encoder.blocks[0].get_submodule(part).weight)
        fit(model, features := Features(FeatureConfig(sample_rate=RATE, num_mels=40, n_fft=256, window=200, hop=80)))
    settings = TranscriptionSettings(
        "ctc", BeamSearchConfig(beam=2, ctc_weight=0.9), max_seconds=4.0, text_style="keep"
    )
    return Recognizer(model, settings, {}, features, Normalizer("none", 40), WordTokenizer(WORDS))


def fit(model: ConformerNtm, features: Features) -> None:
    """Fit the CTC layer to all words at all places of the frames."""
    hidden, wanted = [], []
    for shift in range(0, 320, 20):
        waveform = F.pad(say(" ".join([*WORDS, *reversed(WORDS)])), (shift, 0))
        frames = model.encode(*features(waveform[None])).hidden[0]
        time = (torch.arange(len(frames)) * 4 + 3) * 0.01 - 0.5 - shift / RATE
        word, place = (time / 0.36).floor().long(), time % 0.36
        is_tone = (word >= 0) & (word < 2 * len(WORDS)) & (place > 0.02) & (place < 0.14)
        word = torch.minimum(word, 2 * len(WORDS) - 1 - word)
        hidden.append(F.pad(frames, (0, 1), value=1.0))
        wanted.append(12.0 * F.one_hot(torch.where(is_tone, word + 2, 0), len(WORDS) + 3))
    found = torch.linalg.lstsq(torch.cat(hidden), torch.cat(wanted), driver="gelsd").solution
    model.ctc.weight.copy_(found[:-1].T)
    model.ctc.bias.copy_(found[-1])
    model.ctc.bias[0] += 3.0  # in doubt silence


@pytest.fixture(scope="session")
def checkpoint(recognizer: Recognizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of the recognizer."""
    path = tmp_path_factory.mktemp("checkpoint") / "keys.safetensors"
    recognizer.save(path)
    return path


@pytest.fixture
def speak() -> Callable[[str, Path], Path]:
    """Return a function that writes a recording of a text."""

    def write(text: str, path: Path) -> Path:
        soundfile.write(path, say(text).numpy(), RATE, format="FLAC" if path.suffix == ".flac" else "WAV")
        return path

    return write


@pytest.fixture
def manifest(tmp_path: Path, speak: Callable[[str, Path], Path]) -> Path:
    """Return a manifest of three recordings."""
    utterances = []
    for name, text in TEXTS.items():
        path = speak(text, tmp_path / f"{name}.flac")
        utterances.append(Utterance(path, len(say(text)) / RATE, text, id=name))
    write_manifest(tmp_path / "all.jsonl", utterances)
    return tmp_path / "all.jsonl"


@pytest.fixture
def world() -> ToneWorld:
    """Return a generated data set, for what needs clips and no files."""
    return ToneWorld(num_clips=4, max_words=2)
