import csv
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.utils.data import TensorDataset

from mnemic_kit.resume import ResumableLoader, WholeFileIO, seed_step
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


def losses(root: Path) -> dict[int, str]:
    """Return the loss of each step over all starts of a run, the latest start last."""
    found: dict[int, str] = {}
    for path in sorted(root.glob("logs/version_*/metrics.csv")):
        with path.open() as file:
            found |= {int(row["step"]): row["train/loss"] for row in csv.DictReader(file) if row["train/loss"]}
    return found


class Stop(Callback):
    """Ends training without any farewell after so many batches."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def on_train_batch_start(self, trainer: Trainer, *_: object) -> None:
        if trainer.fit_loop.total_batch_idx == self.batches:
            raise RuntimeError("killed")


@pytest.fixture
def uninterrupted(config: Path, tmp_path: Path) -> dict[int, str]:
    train.main("fit", ["--config", str(config), f"--trainer.default_root_dir={tmp_path / 'whole'}"])
    return losses(tmp_path / "whole")


def test_a_run_stopped_in_the_middle_of_each_epoch_continues_on_the_same_loss_curve(
    config: Path, tmp_path: Path, uninterrupted: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--config", str(config), f"--trainer.default_root_dir={tmp_path / 'broken'}"]
    for batches in (3, 6, 9):  # in the first epoch, between the two, in the second
        monkeypatch.setitem(train.TRAINER_DEFAULTS, "callbacks", [Stop(batches)])
        with pytest.raises(RuntimeError, match="killed"):
            train.main("fit", [*arguments, "--resume"])
    monkeypatch.delitem(train.TRAINER_DEFAULTS, "callbacks")
    train.main("fit", [*arguments, "--ckpt_path=last"])
    assert len(uninterrupted) == 11  # 12 single frames in epoch 0, 10 clips of two in epoch 1
    assert losses(tmp_path / "broken") == uninterrupted


@pytest.mark.slow
def test_a_killed_process_continues_on_the_same_loss_curve(
    config: Path, tmp_path: Path, uninterrupted: dict[int, str]
) -> None:
    root = tmp_path / "killed"
    command = [sys.executable, "-m", "mnemic_track", "fit", "--config", str(config)]
    command += [f"--trainer.default_root_dir={root}", "--resume", "--data.num_workers=1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while len(losses(root)) < 4:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run(command, check=True, capture_output=True)
    assert losses(root) == uninterrupted


def test_a_loader_continues_where_another_one_stopped() -> None:
    def loader() -> ResumableLoader:
        return ResumableLoader(TensorDataset(torch.arange(10)), 3, 2, seed=5, collate=list)

    whole, first, second = list(loader()), loader(), loader()
    begun = iter(first)
    used = [next(begun), next(begun)]
    second.load_state_dict(first.state_dict())
    assert len(second) == len(whole) == 5
    assert used + list(second) == whole


def test_processes_share_an_epoch_without_overlap() -> None:
    parts = [
        ResumableLoader(TensorDataset(torch.arange(8)), 0, 2, seed=5, collate=list, num_replicas=2, rank=rank)
        for rank in (0, 1)
    ]
    seen = [int(item[0]) for part in parts for batch in part for item in batch]
    assert sorted(seen) == list(range(8))


def test_a_state_of_another_epoch_is_refused() -> None:
    loader = ResumableLoader(TensorDataset(torch.arange(4)), 2, 2, seed=5, collate=list)
    with pytest.raises(ValueError, match="epoch 2, the checkpoint of epoch 0"):
        loader.load_state_dict({"epoch": 0, "used": 1})


def test_the_epoch_after_one_that_was_cut_short_begins_with_its_first_batch() -> None:
    loader = ResumableLoader(TensorDataset(torch.arange(4)), 1, 2, seed=5, collate=list)
    loader.load_state_dict({"epoch": 0, "used": 1})
    assert len(list(loader)) == 2


def test_too_few_clips_for_a_batch_are_refused() -> None:
    with pytest.raises(ValueError, match="3 clips are too few for one batch of 4"):
        ResumableLoader(TensorDataset(torch.arange(3)), 0, 4, seed=5, collate=list)


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "last.ckpt"
    WholeFileIO().save_checkpoint({"step": 1}, path)
    with pytest.raises(AttributeError):
        WholeFileIO().save_checkpoint({"step": lambda: 2}, path)
    assert torch.load(path) == {"step": 1}
    assert list(path.parent.iterdir()) == [path]


def test_the_noise_of_a_step_follows_from_its_number() -> None:
    def noise(*place: int) -> torch.Tensor:
        seed_step(*place)
        return torch.rand(3)

    assert torch.equal(noise(0, 1, 2), noise(0, 1, 2))
    assert not torch.equal(noise(0, 1, 2), noise(0, 2, 1))


def test_a_second_run_in_the_same_folder_is_refused(config: Path, tmp_path: Path) -> None:
    arguments = ["--config", str(config), f"--trainer.default_root_dir={tmp_path}", "--trainer.max_steps=1"]
    train.main("fit", arguments)
    with pytest.raises(ValueError, match="continue it with --resume"):
        train.main("fit", arguments)


@pytest.mark.parametrize("damage", ["truncated", "stranger"])
def test_a_damaged_or_foreign_checkpoint_is_refused_and_runs_no_code(tmp_path: Path, damage: str) -> None:
    file, mark = tmp_path / "bad.ckpt", tmp_path / "mark"
    WholeFileIO().save_checkpoint({"state_dict": {"weight": torch.zeros(100)}}, file)
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-100])
    else:
        file.write_bytes(pickle.dumps(_Payload(mark)))
    with pytest.raises(ValueError, match=r"bad\.ckpt"):
        WholeFileIO().load_checkpoint(file)
    assert not mark.exists()


class _Payload:
    """Makes a file when it is unpickled the careless way."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)
