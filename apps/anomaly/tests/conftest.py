"""A tiny training config, an untrained checkpoint, and a folder of generated images."""

from pathlib import Path

import pytest
import torch

from mnemic_vision.memmc_mae import (
    Calibration,
    DetectorCheckpoint,
    DetectorSettings,
    DrawRule,
    ImageDomain,
    MemMcMae,
    MemMcMaeConfig,
    ScoreRule,
    ScoreScale,
)
from mnemic_vision.memmc_mae.data import GeneratedTextures

TINY = """
trainer:
  accelerator: cpu
  max_epochs: 2
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
last_checkpoint: {every_n_train_steps: 2}
model:
  config: {image_size: 64, patch_size: 16, channels: 1, dim: 8, depth: 1, num_heads: 2, decoder_dim: 8,
    decoder_depth: 1, decoder_heads: 2}
  settings: {draws: {num_draws: 4}, score: {image_score: max}}
data:
  images: [{name: generated, textures: {num_train: 16, num_val: 4, num_test: 4}}]
  batch_size: 4
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    GeneratedTextures(num_train=4, num_val=0, num_test=6).write(tmp_path / "images")
    return tmp_path / "images"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    small = {"dim": 8, "depth": 1, "num_heads": 2, "decoder_dim": 8, "decoder_depth": 1, "decoder_heads": 2}
    config = MemMcMaeConfig(image_size=64, patch_size=16, channels=1, **small)
    settings = DetectorSettings(DrawRule(num_draws=4), ScoreRule("max"))
    calibration = Calibration(ScoreScale(0.0, 0.5, 1.5), ScoreScale(0.0, 0.5, 1.5))
    domain = ImageDomain.fit([torch.rand(1, 64, 64) for _ in range(4)], [])
    DetectorCheckpoint(MemMcMae(config), settings, {}, calibration, domain).save(tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"
