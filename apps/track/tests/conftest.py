"""An untrained checkpoint that several tests run."""

from pathlib import Path

import pytest
import torch

from mnemic_vision.memotr import MemotrConfig, Thresholds, build_memotr
from mnemic_vision.memotr.checkpoint import TrackerCheckpoint, TrackerSettings


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = MemotrConfig(
        dim=32,
        num_heads=2,
        ffn_dim=32,
        num_levels=2,
        encoder_layers=1,
        decoder_layers=2,
        num_queries=3,
        capacity=6,
        backbone="test_resnet",
        backbone_levels=2,
        update_threshold=0.005,
    )
    # An untrained network finds something with these.
    eager = Thresholds(detect=0.0, track=0.0, result=0.0, min_area=0.0)
    path = tmp_path / "tiny.safetensors"
    TrackerCheckpoint(build_memotr(config), TrackerSettings(64, 96, eager), {}).save(path)
    return path
