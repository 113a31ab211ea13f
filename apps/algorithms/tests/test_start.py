"""What ``fit`` and ``validate`` start from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mnemic_algorithms import cli
from mnemic_core.checkpoint import KEY
from mnemic_core.errors import UserError

SMALL = ["--data={steps_per_epoch: 2, val_strings: 1, batch_size: 1, max_length: 2, val_lengths: [2]}"]
SMALL += ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.max_epochs=1"]
SMALL += ["--trainer.enable_model_summary=false", "--model.config.hidden_dim=4"]


def run(command: str, root: Path, *options: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main([command, *SMALL, f"--trainer.default_root_dir={root}", *options])
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("trained")
    assert run("fit", root) == 0
    content: dict[str, Any] = torch.load(root / "checkpoints" / "last.ckpt")
    return content


def of_another_program(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, KEY: {**content[KEY], "kind": "memotr"}}


def of_a_newer_version(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, KEY: {**content[KEY], "config": {**content[KEY]["config"], "new_setting": 1}}}


def of_weights_only(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in {"optimizer_states", "lr_schedulers"}}


def of_other_sizes(content: dict[str, Any]) -> dict[str, Any]:
    weights = {name: value[..., :1] for name, value in content["state_dict"].items()}
    return {**content, "state_dict": weights}


def of_something_else(content: dict[str, Any]) -> dict[str, Any]:
    return {"weight": torch.ones(2)}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (of_another_program, "is a checkpoint of kind 'memotr', expected 'algorithms'"),
        (of_a_newer_version, "has settings that this version does not know (new_setting)"),
        (of_weights_only, "holds weights only, which cannot be resumed"),
        (of_other_sizes, "does not fit the network of this config"),
        (of_something_else, "is not a checkpoint of training"),
        (None, "is truncated"),
    ],
)
def test_fit_refuses_what_it_cannot_resume_in_one_line(
    trained: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, Any]], dict[str, Any]] | None,
    expected: str,
) -> None:
    path = tmp_path / "given.ckpt"
    torch.save(trained if change is None else change(trained), path)
    if change is None:
        path.write_bytes(path.read_bytes()[:-100])
    assert run("fit", tmp_path / "run", f"--ckpt_path={path}", "--trainer.max_epochs=2") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mnemic")]
    assert expected in line
    assert str(path) in line


def test_an_evaluation_without_a_checkpoint_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("validate", tmp_path) == 2
    assert "which checkpoint? give one with --ckpt_path" in capsys.readouterr().err


def test_a_run_does_not_replace_another_one_that_it_does_not_continue(
    trained: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(trained, tmp_path / "other.ckpt")
    assert run("fit", tmp_path / "run") == 0
    assert run("fit", tmp_path / "run", f"--ckpt_path={tmp_path / 'other.ckpt'}") == 2
    assert "is of an earlier run" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["checkpoints/best.ckpt", "checkpoints/last.ckpt", "config.yaml"])
def test_fit_does_not_write_over_files_that_it_did_not_make(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / name
    own.parent.mkdir(exist_ok=True)
    own.write_text("mine")
    assert run("fit", tmp_path, "--trainer.logger=false") == 2
    assert "give another --trainer.default_root_dir" in capsys.readouterr().err
    assert own.read_text() == "mine"


def test_resuming_leaves_a_config_that_it_did_not_save(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fit", tmp_path, "--trainer.max_epochs=1") == 0
    own = tmp_path / "config.yaml"
    own.write_text("trainer: {max_epochs: 2}")
    arguments = ("--trainer.logger=false", f"--config={own}", "--resume")
    assert run("fit", tmp_path, *arguments) == 2
    assert "would be written over; move it away" in capsys.readouterr().err
    assert own.read_text() == "trainer: {max_epochs: 2}"
    own.unlink()
    for epochs in (2, 3):  # what Lightning saved itself is no obstacle
        assert run("fit", tmp_path, "--trainer.logger=false", f"--trainer.max_epochs={epochs}", "--resume") == 0
        assert own.is_file()


def test_two_trainings_in_one_folder_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mnemic_kit.run_folder import lock_folder

    with lock_folder(tmp_path):
        assert run("fit", tmp_path) == 2
    assert "another fit is training in" in capsys.readouterr().err


def test_a_training_that_fails_before_its_first_step_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise UserError("no data")

    monkeypatch.setattr("mnemic_algorithms.datamodule.AlgorithmData.setup", fail)
    assert run("fit", tmp_path / "runs" / "first") == 2
    assert not (tmp_path / "runs").exists()
    monkeypatch.undo()
    assert run("fit", tmp_path / "run", "--trainer.max_epochs=1") == 0
    monkeypatch.setattr("mnemic_algorithms.datamodule.AlgorithmData.setup", fail)
    assert run("fit", tmp_path / "run", "--trainer.max_epochs=2", "--resume") == 2
    assert [path.name for path in (tmp_path / "run" / "logs").iterdir()] == ["version_0"]


@pytest.mark.parametrize(
    "option",
    ["model.config.num_layers=0", "model.config.hidden_dim=-4", "model.lr=-1", "model.lr=.nan", "data.batch_size=0",
     "last_checkpoint.every_n_train_steps=0"],
)  # fmt: skip
def test_a_setting_out_of_its_range_is_one_line_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert run("fit", tmp_path / "run", f"--{option}") == 2
    message = capsys.readouterr().err
    assert option.partition("=")[0].rpartition(".")[2] in message
    assert message.count("\n") == 1
