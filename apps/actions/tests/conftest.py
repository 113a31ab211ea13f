"""Untrained checkpoints and small streams that several tests use."""

from pathlib import Path

import numpy as np
import pytest
from action_checkpoints import write_checkpoint

from mnemic_vision.frame_features import ExtractorConfig
from mnemic_vision.matr.data import GeneratedActions, InputConfig, write_annotated_streams
from mnemic_vision.video import VideoWriter


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "tiny.safetensors", InputConfig("plain", channels=6))


@pytest.fixture
def video_checkpoint(tmp_path: Path) -> Path:
    extractor = ExtractorConfig("test_efficientnet", stride=2, size=32)
    return write_checkpoint(tmp_path / "video.safetensors", InputConfig("plain", channels=256), extractor)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three streams of subset val, and one of train."""
    sizes = {"num_frames": 60, "num_classes": 2, "num_channels": 6, "window": 4}
    val, train = (GeneratedActions(num_streams=number, seed=seed, **sizes).open() for number, seed in ((3, 0), (1, 1)))
    write_annotated_streams({"val": val, "train": train}, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def video(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    with VideoWriter(tmp_path / "my.mp4", (96, 64), 10.0) as writer:
        for _ in range(20):
            writer.write(rng.integers(0, 255, (64, 96, 3), dtype=np.uint8))
    return tmp_path / "my.mp4"
