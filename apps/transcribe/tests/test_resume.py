import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.testing import assert_close
from trainings import Stop, losses, run_and_kill

from mnemic_kit.run_folder import fit_or_resume
from mnemic_transcribe.commands import train


def weights(root: Path, name: str) -> dict[str, torch.Tensor]:
    return torch.load(root / "checkpoints" / name)["state_dict"]


class StopInValidation(Callback):
    """Aborts training at a validation after a number of steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_validation_batch_start(self, trainer: Trainer, *_: object) -> None:
        if trainer.global_step == self.steps:
            raise RuntimeError("killed")


def fit(config: Path, root: Path, *options: str) -> Path:
    fit_or_resume(train.main, ["--config", str(config), *options], root)
    return root


def test_a_run_stopped_anywhere_ends_as_an_uninterrupted_one(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit(config, tmp_path / "whole")
    steps = len(losses(whole))
    assert steps >= 10
    for batches in (3, steps // 2, steps // 2 + 3):  # in the first epoch, between the two, in the second
        monkeypatch.setitem(train.TRAINER_DEFAULTS, "callbacks", [Stop(batches)])
        with pytest.raises(RuntimeError, match="killed"):
            fit(config, tmp_path / "broken")
    monkeypatch.delitem(train.TRAINER_DEFAULTS, "callbacks")
    broken = fit(config, tmp_path / "broken")
    assert losses(broken) == losses(whole)
    for name in ("last.ckpt", "averaged.ckpt"):
        assert_close(weights(broken, name), weights(whole, name), atol=0.0, rtol=0.0)


@pytest.mark.parametrize("every", [1, 2])
def test_a_run_stopped_in_a_validation_validates_again(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    options = ["--trainer.max_epochs=1", "--trainer.val_check_interval=2", "--trainer.limit_train_batches=5"]
    options.append(f"--last_checkpoint.every_n_train_steps={every}")
    whole = fit(config, tmp_path / "whole", *options)
    monkeypatch.setitem(train.TRAINER_DEFAULTS, "callbacks", [StopInValidation(4)])
    with pytest.raises(RuntimeError, match="killed"):
        fit(config, tmp_path / "broken", *options)
    monkeypatch.delitem(train.TRAINER_DEFAULTS, "callbacks")
    broken = fit(config, tmp_path / "broken", *options)
    assert losses(broken) == losses(whole)
    assert_close(weights(broken, "averaged.ckpt"), weights(whole, "averaged.ckpt"), atol=0.0, rtol=0.0)


@pytest.mark.slow
def test_a_killed_process_ends_as_an_uninterrupted_one(config: Path, tmp_path: Path) -> None:
    whole, root = fit(config, tmp_path / "whole"), tmp_path / "killed"
    command = [sys.executable, "-m", "mnemic_transcribe", "fit", "--config", str(config)]
    command += [f"--trainer.default_root_dir={root}", "--data.num_workers=1"]
    run_and_kill(command, root, steps=4)
    subprocess.run([*command, "--resume"], check=True, capture_output=True)
    assert losses(root) == losses(whole)
    assert_close(weights(root, "averaged.ckpt"), weights(whole, "averaged.ckpt"), atol=0.0, rtol=0.0)


def test_a_run_that_was_long_enough_can_be_made_longer(config: Path, tmp_path: Path) -> None:
    for steps in (2, 2, 4):
        fit(config, tmp_path / "run", f"--trainer.max_steps={steps}")
        assert torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt")["global_step"] == steps


def test_a_run_without_a_folder_has_all_its_checkpoints_in_the_current_one(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train.main("fit", ["--config", str(config), "--trainer.default_root_dir=null", "--trainer.max_epochs=1"])
    assert {"last.ckpt", "best.ckpt", "averaged.ckpt"} <= {path.name for path in Path("checkpoints").iterdir()}
    assert not Path("None").exists()


def test_a_second_run_in_the_same_folder_is_refused(config: Path, tmp_path: Path) -> None:
    root = fit(config, tmp_path / "run", "--trainer.max_steps=1")
    with pytest.raises(ValueError, match="continue it with --resume"):
        train.main("fit", ["--config", str(config), f"--trainer.default_root_dir={root}"])
