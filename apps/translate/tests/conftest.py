"""A translator small enough to be trained within a test, a config of it, and recordings of telephone keys."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mnemic_speech.data.manifest import Utterance, write_manifest
from mnemic_speech.data.tones import GERMAN_WORDS, ToneWorld
from mnemic_speech.features import FeatureConfig, Features, Normalizer
from mnemic_speech.simultaneous import (
    AugmentedMemoryTransformer,
    PolicyConfig,
    SegmentConfig,
    SegmentEncoderConfig,
    SimultaneousConfig,
    TranslationSettings,
    Translator,
)
from mnemic_speech.text import WordTokenizer

RATE = 8000
FEATURES = FeatureConfig("kaldi", sample_rate=RATE, num_mels=20, n_fft=256, window=200, hop=80)
TINY = """
trainer:
  accelerator: cpu
  devices: 1
  max_steps: 12
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
last_checkpoint: {every_n_train_steps: 2}
averaged_checkpoint: {keep: 2}
model:
  features: {kind: kaldi, sample_rate: 8000, num_mels: 20, n_fft: 256, window: 200, hop: 80}
  masks: {time_warp: 0, num_frequency_masks: 1, frequency_width: 6, num_time_masks: 1, time_share: 1.0, time_width: 9}
  config:
    encoder:
      dim: 16
      num_heads: 2
      ffn_dim: 16
      num_layers: 1
      conv_channels: 4
      segments: {length: 32, left: 16, right: 16}
    decoder_layers: 1
    decoder_ffn_dim: 16
    ratio: 4
  wait_k: [1, 3]
  warmup_steps: 3
data:
  train: [{name: generated, world: {num_clips: 14, max_words: 2}}]
  val: [{name: generated, world: {num_clips: 4, max_words: 2, seed: 1}}]
  vocabulary: {kind: words, words: [acht, drei, eins, fünf, neun, "null", raute, sechs, sieben, stern, und, vier, zwei]}
  batch_seconds: 2
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a config that trains in seconds."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def translator() -> Translator:
    """Return a network with random weights, which writes many words."""
    torch.manual_seed(3)
    tokenizer = WordTokenizer(GERMAN_WORDS)
    encoder = SegmentEncoderConfig(
        num_mels=20, dim=16, num_heads=2, ffn_dim=24, num_layers=1, conv_channels=4, segments=SegmentConfig(32, 16, 16)
    )
    config = SimultaneousConfig(tokenizer.vocab_size, encoder, decoder_layers=1, decoder_ffn_dim=24, ratio=4)
    model = AugmentedMemoryTransformer(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    with torch.no_grad():
        model.decoder.output.weight[[0, 1, -1]] = 0  # neither blank, unknown nor end: no translation is empty
    settings = TranslationSettings(PolicyConfig(k=2))
    return Translator(model, settings, {}, Features(FEATURES), Normalizer("global", 20), tokenizer)


@pytest.fixture(scope="session")
def checkpoint(translator: Translator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of the translator."""
    path = tmp_path_factory.mktemp("checkpoint") / "keys.safetensors"
    translator.save(path)
    return path


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Return a manifest of three recordings of keys, with names in English and German."""
    utterances = []
    world = ToneWorld(num_clips=3, max_words=4)
    for english, german in zip(world.clips(), world.clips("de"), strict=True):
        path = tmp_path / f"{english.id}.flac"
        soundfile.write(path, english.read(RATE, np.random.default_rng(0)).numpy(), RATE)
        utterances.append(
            Utterance(
                path, english.seconds, english.text, id=english.id, language="en", translations={"de": german.text}
            )
        )
    write_manifest(tmp_path / "keys.jsonl", utterances)
    return tmp_path / "keys.jsonl"
