import json
from pathlib import Path

import pytest

from mnemic_algorithms import cli, evaluation
from mnemic_algorithms.commands import compare, train
from mnemic_kit import training
from mnemic_kit.atomic_files import atomic_write
from mnemic_kit.configs import find_config
from mnemic_kit.experiment import Run, summarize
from mnemic_kit.experiment.report import markdown
from mnemic_kit.made_files import protecting

TINY = """
trainer: {accelerator: cpu, max_epochs: 1, enable_progress_bar: false, enable_model_summary: false}
model: {config: {hidden_dim: 4}}
data: {max_length: 3, batch_size: 2, steps_per_epoch: 2, val_lengths: [3], val_strings: 2}
"""


def test_each_machine_is_trained_with_each_seed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = tmp_path / "tiny.yaml", tmp_path / "out"
    config.write_text(TINY)
    command = ["compare", "--config", str(config), "--machines", "rnn", "stack_rnn", "--seeds", "0", "1", "--json"]
    command += ["--lengths", "4", "6", "--strings", "4", "--out", str(out)]
    with pytest.raises(SystemExit, match="0"):
        cli.main(command)
    first = json.loads(capsys.readouterr().out.splitlines()[-1])
    found = first["scores"]["reverse_string"]
    assert {name: list(cells["score"]["of_seeds"]) for name, cells in found.items()} == {
        "rnn": ["0", "1"],
        "stack_rnn": ["0", "1"],
    }
    assert list(found["rnn"]) == ["score", "solved", "accuracy@length 4", "accuracy@length 6"]
    assert "| variant   |" in (out / "compare.md").read_text()
    assert (out / "compare.png").exists()
    assert json.loads((out / "compare.json").read_text()) == first

    record = out / "rnn-1" / "run.json"
    content = json.loads(record.read_text())
    with protecting([]), atomic_write(record) as file:  # as if killed between the training and its result
        json.dump(content | {"scores": {}}, file)
    monkeypatch.setattr(training, "loggers", lambda root: [])
    with pytest.raises(SystemExit, match="0"):
        cli.main(command)
    assert json.loads((out / "compare.json").read_text()) == first


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--task", "even_pairs"], "options: --data.task=reverse_string there, --data.task=even_pairs here"),
        (["--strings", "8"], "strings: 64 there, 8 here"),
        (["--config", "study"], "config."),
    ],
)
def test_a_folder_with_another_budget_is_refused(
    tmp_path: Path, change: list[str], named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"score": 0.5, "accuracy": {"4": 0.5}}
    monkeypatch.setattr(evaluation, "evaluate_checkpoint", lambda *arguments, **options: found)
    monkeypatch.setattr(Run, "fit", lambda run, main: run.keep({}))
    command = ["compare", "--machines", "rnn", "--seeds", "0", "--out", str(tmp_path)]
    with pytest.raises(SystemExit, match="0"):
        cli.main(command)
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        cli.main([*command, *change])
    shown = capsys.readouterr()
    assert shown.out == ""
    assert named in shown.err
    assert shown.err.endswith("give another --out\n")


def test_trained_lengths_are_those_of_config_and_options() -> None:
    config = find_config("proof", train.CONFIGS)
    assert compare.training_length(config, []) == 20
    assert compare.training_length(config, ["--data.max_length=3"]) == 3


def test_a_seed_has_solved_the_task_from_a_score_of_nine_tenths_on() -> None:
    runs = [compare.scores_of((1 + last) / 2, {"40": 1.0, "80": last}) for last in (1.0, 0.8, 0.6)]
    found = {"rnn": {seed: {"reverse_string": run} for seed, run in enumerate(runs)}}
    table = summarize(found, compare.METRICS, "rnn")
    summary = {name: cell.mean for name, cell in table["reverse_string"]["rnn"].items()}
    assert summary["solved"] == pytest.approx(2 / 3)
    assert summary["accuracy@length 40"] == 1.0
    assert summary["accuracy@length 80"] == pytest.approx(0.8)
    assert "| 2 of 3 |" in markdown(table, compare.METRICS, "rnn")
