import subprocess
import sys
from pathlib import Path

import pytest
from trainings import Stop, losses, run_and_kill

from mnemic_kit.run_folder import fit_or_resume
from mnemic_track.commands import train

TINY = """
trainer:
  accelerator: cpu
  devices: 1
  max_epochs: 2
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
last_checkpoint: {every_n_train_steps: 2}
model:
  config:
    dim: 32
    num_heads: 2
    memory_heads: 2
    ffn_dim: 32
    num_levels: 2
    encoder_layers: 1
    decoder_layers: 2
    num_queries: 5
    capacity: 8
    dropout: 0.1
    backbone: test_resnet
    pretrained_backbone: false
    backbone_levels: 2
    two_stage: true
    denoising_groups: 1
  warmup_steps: 3
data:
  train: [{name: generated, world: {num_sequences: 2, num_frames: 6, size: [64, 96]}}]
  batch_size: 2
  clip_lengths: {0: 1, 1: 2}
  augmentation: {scales: [64], max_size: 96, crop_prob: 0.0}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture
def uninterrupted(config: Path, tmp_path: Path) -> dict[int, str]:
    train.main("fit", ["--config", str(config), f"--trainer.default_root_dir={tmp_path / 'whole'}"])
    return losses(tmp_path / "whole")


def test_a_run_stopped_in_the_middle_of_each_epoch_continues_on_the_same_loss_curve(
    config: Path, tmp_path: Path, uninterrupted: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--config", str(config)]
    for batches in (3, 6, 9):  # in the first epoch, between the two, in the second
        monkeypatch.setitem(train.TRAINER_DEFAULTS, "callbacks", [Stop(batches)])
        with pytest.raises(RuntimeError, match="killed"):
            fit_or_resume(train.main, arguments, tmp_path / "broken")
    monkeypatch.delitem(train.TRAINER_DEFAULTS, "callbacks")
    train.main("fit", [*arguments, f"--trainer.default_root_dir={tmp_path / 'broken'}", "--ckpt_path=last"])
    assert len(uninterrupted) == 11  # 12 single frames in epoch 0, 10 clips of two in epoch 1
    assert losses(tmp_path / "broken") == uninterrupted


@pytest.mark.slow
def test_a_killed_process_continues_on_the_same_loss_curve(
    config: Path, tmp_path: Path, uninterrupted: dict[int, str]
) -> None:
    root = tmp_path / "killed"
    command = [sys.executable, "-m", "mnemic_track", "fit", "--config", str(config)]
    command += [f"--trainer.default_root_dir={root}", "--data.num_workers=1"]
    run_and_kill(command, root, steps=4)
    subprocess.run([*command, "--resume"], check=True, capture_output=True)
    assert losses(root) == uninterrupted


def test_a_second_run_in_the_same_folder_is_refused(config: Path, tmp_path: Path) -> None:
    arguments = ["--config", str(config), f"--trainer.default_root_dir={tmp_path}", "--trainer.max_steps=1"]
    train.main("fit", arguments)
    with pytest.raises(ValueError, match="continue it with --resume"):
        train.main("fit", arguments)
