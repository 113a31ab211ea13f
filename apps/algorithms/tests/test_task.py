import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from trainings import Stop, losses, run_and_kill

from mnemic_algorithms.commands import train
from mnemic_algorithms.task import AlgorithmTask
from mnemic_kit.run_folder import fit_or_resume

TINY = """
trainer: {accelerator: cpu, devices: 1, max_epochs: 2, log_every_n_steps: 1, enable_progress_bar: false,
          enable_model_summary: false}
last_checkpoint: {every_n_train_steps: 2}
model: {config: {memory: {name: stack_rnn}, hidden_dim: 6}}
data: {max_length: 4, batch_size: 3, steps_per_epoch: 5, val_lengths: [3, 5], val_strings: 4}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def test_a_run_stopped_in_the_middle_of_each_epoch_ends_with_the_same_weights(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train.main("fit", ["--config", str(config), f"--trainer.default_root_dir={whole}"])
    for batches in (3, 5, 8):  # in the first epoch, between the two, in the second
        monkeypatch.setitem(train.TRAINER_DEFAULTS, "callbacks", [Stop(batches)])
        with pytest.raises(RuntimeError, match="killed"):
            fit_or_resume(train.main, ["--config", str(config)], broken)
    monkeypatch.delitem(train.TRAINER_DEFAULTS, "callbacks")
    fit_or_resume(train.main, ["--config", str(config)], broken)
    assert len(losses(whole)) == 10
    assert losses(broken) == losses(whole)
    weights = [
        torch.load(root / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for root in (whole, broken)
    ]
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())


@pytest.mark.slow
def test_a_killed_process_continues_on_the_same_loss_curve(config: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    longer = ["--config", str(config), "--data.steps_per_epoch=60"]
    train.main("fit", [*longer, f"--trainer.default_root_dir={whole}"])
    command = [sys.executable, "-m", "mnemic_algorithms", "fit", *longer]
    command += [f"--trainer.default_root_dir={killed}"]
    run_and_kill(command, killed, steps=20)
    subprocess.run([*command, "--resume"], check=True, capture_output=True)
    assert losses(killed) == losses(whole)


def test_validation_logs_each_length_and_their_mean(config: Path, tmp_path: Path) -> None:
    cli = train.main("fit", ["--config", str(config), f"--trainer.default_root_dir={tmp_path}"])
    figures = {name: float(value) for name, value in cli.trainer.callback_metrics.items()}
    mean = (figures["val/accuracy_3"] + figures["val/accuracy_5"]) / 2
    assert figures["val/accuracy"] == pytest.approx(mean)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}


def test_the_learning_rate_falls_linearly_to_its_final_share() -> None:
    task = AlgorithmTask(lr=0.5, final_share=0.2)
    task.trainer = Trainer(max_steps=4, logger=False, barebones=True)
    chosen = task.configure_optimizers()
    rates = []
    for _ in range(5):
        rates.append(chosen["optimizer"].param_groups[0]["lr"])
        chosen["optimizer"].step()
        chosen["lr_scheduler"]["scheduler"].step()
    assert rates == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1])


def test_a_run_without_an_end_has_no_schedule() -> None:
    task = AlgorithmTask()
    task.trainer = Trainer(max_epochs=-1, logger=False, barebones=True)
    with pytest.raises(ValueError, match="give --trainer"):
        task.configure_optimizers()


@pytest.mark.parametrize("option", [{"lr": 0.0}, {"final_share": 0.0}, {"final_share": 2.0}])
def test_a_schedule_without_meaning_is_refused(option: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="lr must be above 0 and final_share above 0 and at most 1"):
        AlgorithmTask(**option)
