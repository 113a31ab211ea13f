import json
from pathlib import Path

import pytest

from mnemic_lm import cli


def evaluate(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[dict[str, object], str]:
    """Return the JSON object and everything before it."""
    with pytest.raises(SystemExit, match="0"):
        cli.main(["evaluate", *map(str, arguments), "--json"])
    *shown, last = capsys.readouterr().out.strip().splitlines()
    return json.loads(last), "\n".join(shown)


def test_scores_depend_on_context_and_size_of_the_memory_and_are_shown_drawn_and_kept(
    checkpoint: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = ["--contexts", 4, 8, 64, "--memory-sizes", 2, 8]
    options = ["--shuffled", "--batch_size", 2, "--out", tmp_path / "new"]
    found, shown = evaluate(capsys, "--checkpoint", checkpoint, "--data", text, *lists, *options)
    assert found["contexts"]["8"] == found["off"] != found["bits_per_byte"]
    assert found["memory_sizes"]["8"] == found["bits_per_byte"] != found["memory_sizes"]["2"]
    assert found["shuffled"] not in (found["off"], found["bits_per_byte"])
    assert (found["memory"], found["memory_size"], found["bytes"]) == ("window", 8, 172)
    assert "memory reset every 4 tokens" in shown
    assert "memory of 2 items" in shown
    written = json.loads((tmp_path / "new" / "scores.json").read_text())
    assert written.pop("settings").keys() > {"contexts", "memory_sizes", "shuffled", "batch_size", "checkpoint", "data"}
    assert written == found
    assert (tmp_path / "new" / "scores.png").stat().st_size > 1000


def test_validation_during_training_gave_the_same_number(
    checkpoint: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mnemic_lm.commands import train

    found, _ = evaluate(capsys, "--checkpoint", checkpoint, "--data", text, "--batch_size", 2)
    data = {"val": f"[{text}]", "segment_length": 8, "batch_size": 2}
    arguments = [f"--data.{name}={value}" for name, value in data.items()]
    model = "--model.transformer={dim: 16, num_layers: 1, num_heads: 2, ffn_dim: 16, memory: {name: window}}"
    arguments += [f"--ckpt_path={checkpoint}", "--trainer.accelerator=cpu", f"--trainer.default_root_dir={tmp_path}"]
    run = train.main("validate", [*arguments, model])
    assert float(run.trainer.callback_metrics["val/bits_per_byte"]) == pytest.approx(found["bits_per_byte"])


def test_other_options_do_not_mix_their_results_with_earlier_ones(
    checkpoint: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--checkpoint", str(checkpoint), "--data", str(text), "--out", str(tmp_path)]
    with pytest.raises(SystemExit, match="0"):
        cli.main([*command, "--contexts", "8"])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        cli.main([*command, "--batch_size", "2"])
    shown = capsys.readouterr()
    assert shown.out == ""
    assert (
        "scores.json was made with other settings (contexts: 8 there, none here; batch_size: 8 there, 2 here)"
        in shown.err
    )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before  # no figure of other scores is left
