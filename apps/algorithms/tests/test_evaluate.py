import json
from pathlib import Path

import pytest

from mnemic_algorithms import cli
from mnemic_algorithms.commands import train

TINY = [
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--data={max_length: 3, batch_size: 2, steps_per_epoch: 2, val_lengths: [3], val_strings: 2}",
    "--model.config={hidden_dim: 5, memory: {name: stack_rnn, options: {size: 2}}}",
]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    train.main("fit", [*TINY, f"--trainer.default_root_dir={tmp_path}"])
    return tmp_path / "checkpoints" / "last.ckpt"


def evaluated(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, object], str]:
    """Return the JSON of the last line, and the lines before it."""
    with pytest.raises(SystemExit, match="0"):
        cli.main(["evaluate", *arguments, "--strings", "4", "--json"])
    *text, last = capsys.readouterr().out.splitlines()
    return json.loads(last), "\n".join(text)


def test_length_against_accuracy_is_printed_written_and_drawn(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    summary, text = evaluated(["--checkpoint", str(checkpoint), "--lengths", "7", "2", "--out", str(out)], capsys)
    assert list(summary["accuracy"]) == ["2", "7"]  # the stack of 2 cells grows to the length
    assert summary["score"] == summary["accuracy"]["7"]  # training had up to 3 tokens
    assert (summary["task"], summary["machine"], summary["max_length"]) == ("reverse_string", "stack_rnn", 3)
    assert "| length | accuracy | trained |" in text
    assert f"| 7      | {100 * summary['accuracy']['7']:8.1f} | no      |" in text
    written = json.loads((out / "accuracy.json").read_text())
    assert written.pop("settings")["lengths"] == [2, 7]
    assert written == summary
    assert {path.name for path in out.glob("[!.]*")} == {"accuracy.json", "accuracy.md", "accuracy.png"}


def test_lengths_follow_from_the_training_lengths(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary, _ = evaluated(["--checkpoint", str(checkpoint)], capsys)
    assert list(summary["accuracy"]) == ["3", "6", "15", "30"]
    assert summary["score"] == pytest.approx(sum(summary["accuracy"][length] for length in ("6", "15", "30")) / 3)


def test_the_same_seed_gives_the_same_accuracy(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--checkpoint", str(checkpoint), "--lengths", "9"]
    first, second = (evaluated(arguments, capsys)[0] for _ in range(2))
    assert first == second


def test_a_training_whose_loss_went_to_infinity_can_still_be_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # After a single step weights are huge, but numbers.
    train.main("fit", [*TINY, f"--trainer.default_root_dir={tmp_path}", "--model.lr=1e30", "--trainer.max_steps=1"])
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    summary, _ = evaluated(["--checkpoint", str(checkpoint), "--lengths", "3"], capsys)
    assert "val/loss" not in summary["provenance"]["metrics"]


def test_validate_scores_a_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    done = train.main("validate", [*TINY, f"--trainer.default_root_dir={tmp_path}", f"--ckpt_path={checkpoint}"])
    assert {"val/accuracy", "val/accuracy_3", "val/loss"} <= set(done.trainer.callback_metrics)
