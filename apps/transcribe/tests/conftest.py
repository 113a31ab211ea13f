"""A recognizer small enough to be trained within a test, and a config of it."""

from pathlib import Path

import pytest
from recordings import make_audio as make_audio

TINY = """
trainer:
  accelerator: cpu
  devices: 1
  max_epochs: 2
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
last_checkpoint: {every_n_train_steps: 2}
averaged_checkpoint: {keep: 2, monitor: val/loss, mode: min}
model:
  features: {sample_rate: 8000, num_mels: 20, n_fft: 256, window: 200, hop: 80}
  masks: {frequency_width: 6}
  config:
    encoder: {dim: 16, num_heads: 2, ffn_dim: 16, num_layers: 1, kernel_size: 5}
    decoder_layers: 1
    decoder_ffn_dim: 16
    memory: {name: turing_paper, options: {slots: 4, width: 3}}
  warmup_steps: 3
data:
  train: [{name: generated, world: {num_clips: 14, max_words: 2}}]
  val: [{name: generated, world: {num_clips: 4, max_words: 2, seed: 1}}]
  vocabulary: {kind: words, words: [eight, five, four, nine, one, pound, seven, six, star, three, two, zero]}
  text_style: keep
  augmentation: {speeds: [0.9, 1.1], gain_db: [-6, 6], noise_prob: 0.5}
  batch_seconds: 2
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a config that trains in a second."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path
