from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_lines import parse_config

from mnemic_algorithms import cli
from mnemic_algorithms.commands import train
from mnemic_algorithms.machines import MachineConfig, build_machine
from mnemic_core.deserialize import deserialize

CONFIGS = sorted(path.stem for path in train.CONFIGS.glob("*.yaml"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["trian"], "invalid choice: 'trian'"),
        (["fit", "--config", "prof"], "give a file or one of proof, study"),
        (["fit", "--config", "proof", "--data.task", "sorting"], "task must be one of even_pairs"),
        (["fit", "--config", "proof", "--model.config.memory.name", "elephant"], "memory must be one of"),
        (["fit", "--config", "proof", "--model.config.size=3"], "size"),
        (["evaluate", "--checkpoint", "absent.ckpt"], "no checkpoint at absent.ckpt"),
        (["evaluate", "--checkpoint", "absent.ckpt", "--lengths", "x"], "lengths"),
        (["compare", "--machines", "elephant"], "--machines: must be one of gated_fifo, neighbours"),
        (["compare", "--task", "sorting"], "task must be one of even_pairs"),
        (["compare", "--seeds", "[]"], "--seeds: takes at least one value"),
        (["bench", "--mechanism", "product_key"], "mechanisms that carry a state are"),
        (["bench", "--mechanism", "window", "--segments", "7"], "a multiple of 8, got 32, 32, 16, 4 and 7"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_request:
        cli.main(arguments)
    message = capsys.readouterr().err
    assert exit_request.value.code == 2
    assert message.startswith("mnemic-algorithms: error: ")
    assert message.count("\n") == 1
    assert expected in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", CONFIGS)
def test_the_machine_of_a_config_can_be_built(name: str) -> None:
    given = parse_config(train.main, train.AlgorithmsCLI, name).config["fit"]
    assert given["model"]["task"] == given["data"]["task"] == "reverse_string"
    build_machine(deserialize(MachineConfig, given["model"]["config"].as_dict(), name, "model.config"), 3)


def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    arguments = [f"--trainer.default_root_dir={tmp_path}", "--trainer.max_steps=1", "--trainer.accelerator=cpu"]
    small = ["--data={steps_per_epoch: 1, val_strings: 1, batch_size: 1, max_length: 2, val_lengths: [2]}"]
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    train.main("fit", [*arguments, *small, *quiet])
    with pytest.raises(ValueError, match="continue it with --resume"):
        train.main("fit", [*arguments, *small, *quiet])


def test_resuming_where_nothing_is_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_request:
        cli.main(["fit", "--config", "proof", "--trainer.default_root_dir=run", "--resume"])
    message = capsys.readouterr().err
    assert exit_request.value.code == 2
    assert message.count("\n") == 1
    assert "nothing to resume, run/checkpoints/last.ckpt does not exist: leave out --resume" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda content: content["state_dict"].popitem(), "does not fit the network of this config: missing"),
        (lambda content: content["mnemic"].update(kind="memotr"), "of kind 'memotr', expected 'algorithms'"),
        (lambda content: content.update(mnemic=[1]), "has mnemic [1], expected dict"),
        (lambda content: content.update(optimizer_states=[]), "holds weights only, which cannot be resumed"),
        (lambda content: content.update(optimizer_states=[3]), "has optimizer_states 3, expected dict"),
        (lambda content: content.pop("loops"), "is not a checkpoint of training: give one that fit wrote"),
    ],
)
def test_a_checkpoint_that_training_cannot_continue_from_is_one_line(
    change: Callable[[dict[str, Any]], object], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--model.config.hidden_dim=4"]
    arguments += ["--data={steps_per_epoch: 1, val_strings: 1, batch_size: 1, max_length: 2, val_lengths: [2]}"]
    arguments += ["--trainer.enable_model_summary=false"]
    train.main("fit", [*arguments, "--trainer.max_steps=1", f"--trainer.default_root_dir={tmp_path}"])
    content = torch.load(tmp_path / "checkpoints" / "last.ckpt")
    change(content)
    torch.save(content, tmp_path / "damaged.ckpt")
    capsys.readouterr()
    again = [f"--trainer.default_root_dir={tmp_path / 'new'}", f"--ckpt_path={tmp_path / 'damaged.ckpt'}"]
    with pytest.raises(SystemExit) as exit_request:
        cli.main(["fit", *arguments, *again, "--trainer.max_steps=2"])
    message = capsys.readouterr().err
    assert exit_request.value.code == 2
    assert expected in message
    assert message.count("\n") == 1
