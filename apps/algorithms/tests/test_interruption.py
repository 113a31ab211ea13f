import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from trainings import Signal, losses

from mnemic_algorithms import cli
from mnemic_algorithms.commands import train

TINY = """
trainer: {accelerator: cpu, devices: 1, max_epochs: 2, log_every_n_steps: 1, enable_progress_bar: false,
          enable_model_summary: false}
model: {config: {memory: {name: stack_rnn}, hidden_dim: 6}}
data: {max_length: 4, batch_size: 3, steps_per_epoch: 5, val_lengths: [3, 5], val_strings: 4}
"""
UNVALIDATED = "--trainer.limit_val_batches=0"
ACCUMULATED = "--trainer.accumulate_grad_batches=2"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def fit(config: Path, root: Path, *options: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(["fit", "--config", str(config), f"--trainer.default_root_dir={root}", *options])
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return the folder of a run that nothing interrupts, trained once for each set of options."""

    @cache
    def run(*options: str) -> Path:
        folder = tmp_path_factory.mktemp("whole")
        path = folder / "tiny.yaml"
        path.write_text(TINY)
        assert fit(path, folder / "run", *options) == 0
        return folder / "run"

    return run


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    ("stop", "options"),
    [
        ({"batches": 2}, []),  # in the middle of an epoch
        ({"batches": 4}, []),  # in the step that a validation follows
        ({"batches": 5, "in_validation": True}, []),
        ({"batches": 4}, [UNVALIDATED]),  # in the last step of an epoch without validation
        ({"batches": 6}, [ACCUMULATED]),  # between two batches of a step
        ({"batches": 7}, [ACCUMULATED, "--trainer.val_check_interval=2"]),
    ],
)
def test_a_signal_saves_a_state_from_which_the_run_ends_as_an_uninterrupted_one(
    config: Path,
    uninterrupted: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
    code: int,
    stop: dict[str, int],
    options: list[str],
) -> None:
    whole, broken = uninterrupted(*options), tmp_path / "broken"
    with monkeypatch.context() as patch:
        patch.setitem(train.TRAINER_DEFAULTS, "callbacks", [Signal(number, **stop)])
        assert fit(config, broken, *options) == code
    last = broken / "checkpoints" / "last.ckpt"
    assert f"interrupted: continue it with --resume from {last}\n" in capsys.readouterr().err
    assert fit(config, broken, *options, "--resume") == 0
    assert losses(broken) == losses(whole)
    names = {path.name for path in (whole / "checkpoints").iterdir()}
    assert {path.name for path in (broken / "checkpoints").iterdir()} == names
    for name in names:
        first, second = (torch.load(root / "checkpoints" / name)["state_dict"] for root in (whole, broken))
        assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_a_signal_before_the_first_state_says_to_start_again(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mnemic_algorithms.task.AlgorithmTask.on_fit_start", interrupted)
    assert fit(config, tmp_path / "run") == 130
    assert "interrupted: no state was saved, start again\n" in capsys.readouterr().err


def test_the_last_step_is_not_interrupted(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(train.TRAINER_DEFAULTS, "callbacks", [Signal(signal.SIGTERM, 9)])
    assert fit(config, tmp_path / "run", UNVALIDATED) == 0
    assert torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt")["global_step"] == 10


def test_handlers_of_signals_are_put_back(config: Path, tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    fit(config, tmp_path / "run", "--trainer.max_steps=1")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_terminated_program_continues_with_all_its_processes(config: Path, tmp_path: Path, processes: int) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    command = [sys.executable, "-m", "mnemic_algorithms", "fit", "--config", str(config)]
    command += ["--data.steps_per_epoch=60", f"--trainer.devices={processes}", "--trainer.strategy=ddp"]
    subprocess.run([*command, f"--trainer.default_root_dir={whole}"], check=True, capture_output=True)
    command += [f"--trainer.default_root_dir={broken}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while len(losses(broken)) < 10:
        time.sleep(0.01)
    process.terminate()
    message = process.communicate()[1]
    assert process.returncode == 143, message
    assert "continue it with --resume from" in message
    subprocess.run([*command, "--resume"], check=True, capture_output=True)
    assert losses(broken) == losses(whole)


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once(config: Path, tmp_path: Path) -> None:
    code = "import signal, time; from mnemic_kit.interruption import SignalWatch; SignalWatch().start()"
    code += "; signal.raise_signal(2); print('first', flush=True); signal.raise_signal(2); print('second', flush=True)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout) == (-signal.SIGINT, "first\n")
