from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mnemic_anomaly.checkpoints import find_checkpoint
from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae import DetectorCheckpoint, ImageDomain


def test_the_checkpoint_with_the_most_similar_training_images_is_chosen(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = DetectorCheckpoint.load(checkpoint)
    (tmp_path / "shipped").mkdir()
    kinds = {"dark": 0.1, "bright": 0.9}
    for name, level in kinds.items():
        domain = ImageDomain.fit([torch.rand(1, 32, 32) * 0.1 + level - 0.05 for _ in range(5)], [])
        replace(loaded, domain=domain).save(tmp_path / "shipped" / f"{name}.safetensors")
    for name, level in kinds.items():
        assert find_checkpoint(None, [torch.full((3, 20, 30), level)], tmp_path / "shipped").stem == name
        assert f"checkpoint {name}: its training images resemble these most" in capsys.readouterr().out


def test_without_a_shipped_checkpoint_one_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no checkpoint is shipped"):
        find_checkpoint(None, [torch.zeros(1, 8, 8)], tmp_path)
