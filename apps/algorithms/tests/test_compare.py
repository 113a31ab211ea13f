import json
from pathlib import Path

import pytest

from mnemic_algorithms import cli
from mnemic_algorithms.commands import compare
from mnemic_kit import training

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
    assert {name: len(result["score_of_each_seed"]) for name, result in first["machines"].items()} == {
        "rnn": 2,
        "stack_rnn": 2,
    }
    assert "| machine   |" in (out / "compare.md").read_text()
    assert (out / "compare.png").exists()
    assert json.loads((out / "compare.json").read_text()) == first

    (out / "reverse_string-rnn-1" / "finished").unlink()  # as if killed between the training and its result
    monkeypatch.setattr(training, "loggers", lambda root: [])
    with pytest.raises(SystemExit, match="0"):
        cli.main(command)
    assert json.loads((out / "compare.json").read_text()) == first


def test_a_folder_with_another_budget_is_refused(tmp_path: Path) -> None:
    (tmp_path / "arguments.json").write_text('{"arguments": ["--config=proof"]}')
    with pytest.raises(ValueError, match="holds a run with the options --config=proof; give another --out"):
        compare.train_once(["--config=study"], tmp_path)


def test_a_seed_has_solved_the_task_from_a_score_of_nine_tenths_on() -> None:
    runs = [{"accuracy": {"40": 1.0, "80": last}, "score": (1 + last) / 2} for last in (1.0, 0.8, 0.6)]
    summary = compare.summarise("reverse_string", {"rnn": runs})["machines"]["rnn"]
    assert summary["solved"] == pytest.approx(2 / 3)
    assert summary["accuracy"] == {"40": 1.0, "80": pytest.approx(0.8)}
    assert "| 2 of 3 |" in compare.compare_table({"rnn": summary})
