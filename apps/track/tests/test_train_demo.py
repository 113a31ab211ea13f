from pathlib import Path

import pytest
import timm
import torch

from mnemic_track.train_demo import train_demo
from mnemic_vision.memotr.checkpoint import TrackerCheckpoint

SMALL = (
    "--model.config.backbone=test_resnet",
    "--model.config.backbone_levels=2",
    "--model.config.dim=32",
    "--model.config.ffn_dim=32",
    "--model.config.num_queries=6",
    "--model.settings.short_side=64",
    "--model.settings.long_side=96",
    "--data.augmentation={scales: [64], max_size: 96, crop_prob: 0.0}",
    "--trainer.limit_train_batches=1",
    "--trainer.limit_val_batches=1",
    "--trainer.accelerator=cpu",
)


@pytest.mark.slow
def test_four_stages_end_in_one_file_and_a_second_call_has_nothing_to_do(tmp_path: Path) -> None:
    file, weights = tmp_path / "small.safetensors", tmp_path / "imagenet.pth"
    torch.save(timm.create_model("test_resnet").state_dict(), weights)
    train_demo(tmp_path / "runs", tmp_path / "no data", weights, (1, 1, 1, 1), file, SMALL)
    made = TrackerCheckpoint.load(file)
    assert (made.model.config.dim, made.settings.short_side, made.provenance["epochs"]) == (32, 64, [1, 1, 1, 1])
    written = file.read_bytes()
    train_demo(tmp_path / "runs", tmp_path / "no data", weights, (1, 1, 1, 1), file, SMALL)
    assert file.read_bytes() == written
