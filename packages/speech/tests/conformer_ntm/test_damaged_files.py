"""Damaged files of a recognizer are read, or refused in one line."""

from collections.abc import Callable
from pathlib import Path

import torch
from damaged_files import check_refusals

from mnemic_speech.conformer_ntm import ConformerNtm, Recognizer, TranscriptionSettings
from mnemic_speech.features import FeatureConfig, Features, Normalizer
from mnemic_speech.language_model import NgramModel
from mnemic_speech.text import CharTokenizer

Build = Callable[..., ConformerNtm]


def recognizer(model: ConformerNtm) -> Recognizer:
    features = Features(FeatureConfig(sample_rate=8000, num_mels=9, n_fft=256, window=200, hop=80))
    parts = features, Normalizer("global", 9), CharTokenizer("abc")
    return Recognizer(model, TranscriptionSettings.of(model), {"seed": 1}, *parts)


def test_damaged_recognizers_are_refused_in_one_line(build: Build, tmp_path: Path) -> None:
    recognizer(build("turing_paper")).save(tmp_path / "a.safetensors")
    (tmp_path / "damaged").mkdir()
    check_refusals(Recognizer.load, tmp_path / "a.safetensors", tmp_path / "damaged", count=15)


def test_damaged_checkpoints_of_training_are_refused_in_one_line(build: Build, tmp_path: Path) -> None:
    given = recognizer(build("slot_attention"))
    content = {"state_dict": torch.nn.ModuleDict(given.modules()).state_dict(), "mnemic": given.header(), "epoch": 1}
    torch.save(content, tmp_path / "last.ckpt")
    (tmp_path / "damaged").mkdir()
    check_refusals(Recognizer.load, tmp_path / "last.ckpt", tmp_path / "damaged", count=15)


def test_damaged_ngram_models_are_refused_in_one_line(tmp_path: Path) -> None:
    model = NgramModel.train([[1, 2], [1, 2, 2]], order=2, vocab_size=4, sos_eos=3)
    model.save(tmp_path / "ngram.safetensors")
    (tmp_path / "damaged").mkdir()
    check_refusals(NgramModel.load, tmp_path / "ngram.safetensors", tmp_path / "damaged")
