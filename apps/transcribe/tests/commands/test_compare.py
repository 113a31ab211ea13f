import json
from pathlib import Path

import pytest

from mnemic_kit import training
from mnemic_speech.metrics import ErrorCounts
from mnemic_transcribe import cli
from mnemic_transcribe.commands.compare import memory_arguments, tabulate
from mnemic_transcribe.comparison import difference, figures, markdown

RIGHT, HALF, WRONG = (ErrorCounts(deletions=wrong, length=2) for wrong in (0, 1, 2))
LONG = ErrorCounts(substitutions=5, length=50)


def test_each_memory_is_trained_with_each_seed_once_and_tested_in_every_way(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manifest: Path
) -> None:
    out = tmp_path / "out"
    options = ["--trainer.max_epochs=1", "slot_attention:--model.config.memory_options.num_slots=3"]
    command = ["compare", "--config", str(config), "--memories", "none", "slot_attention", "--seeds", "0"]
    command += ["--out", str(out), "--decodings", "attention", "--tests", str(manifest), "--noises", "white:5"]
    command += ["--options", json.dumps(options), "--device", "cpu"]
    with pytest.raises(SystemExit, match="0"):
        cli.main(command)
    first = json.loads((out / "comparison.json").read_text())["conditions"]
    assert list(first) == [f"{data}{noise}, attention" for data in ("validation", "all") for noise in ("", ", white:5")]
    assert "difference" in first["all, attention"]["slot_attention"]
    assert "difference" not in first["all, attention"]["none"]
    assert "## validation, attention" in (out / "comparison.md").read_text()
    assert (out / "comparison.png").stat().st_size > 1000

    (out / "none-0" / "errors.json").unlink()  # as if killed between the training and its tests
    monkeypatch.setattr(training, "loggers", lambda root: [])
    with pytest.raises(SystemExit, match="0"):
        cli.main(command)
    assert json.loads((out / "comparison.json").read_text())["conditions"] == first


def test_test_sets_of_one_name_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        cli.main(["compare", "--out", str(tmp_path), "--tests", "a/x.jsonl", "b/x.jsonl"])
    assert "test data need names of their own, got validation, x, x" in capsys.readouterr().err


def test_rates_are_means_over_seeds() -> None:
    found = figures({0: [RIGHT, HALF], 1: [WRONG, WRONG]})
    assert found["wer_of_seeds"] == [0.25, 1.0]
    assert found["wer"] == found["deletions"] == 0.625
    assert found["wer_deviation"] == pytest.approx(0.75 / 2**0.5)
    assert figures({0: [RIGHT]})["wer_deviation"] is None


def test_rates_by_length_are_of_all_seeds() -> None:
    assert figures({0: [RIGHT, LONG], 1: [WRONG, LONG]})["wer_by_words"] == {"0-3": 0.5, "41-": 0.1}


def test_differences_are_paired_over_the_same_utterances() -> None:
    """A memory that is better on every utterance by the same amount leaves no doubt, however they differ."""
    without = {0: [HALF, WRONG] * 20, 1: [HALF, WRONG] * 20}
    memory = {0: [RIGHT, HALF] * 20, 1: [RIGHT, HALF] * 20}
    found = difference(memory, without)
    assert found["difference"] == -0.5
    assert found["difference_interval"] == pytest.approx([-0.5, -0.5])
    assert found["share_better"] == 1.0
    assert difference(without, without)["difference_interval"] == [0, 0]


def test_the_tables_have_spread_and_interval() -> None:
    found = {
        "none": {0: {"dev, ctc": [HALF, HALF]}, 1: {"dev, ctc": [WRONG, HALF]}},
        "paper": {0: {"dev, ctc": [RIGHT, HALF]}, 1: {"dev, ctc": [RIGHT, HALF]}},
    }
    text = markdown(tabulate(found))
    assert "| none | 62.50 ± 17.68 | 62.50 | 50.00, 75.00 |  | 62.50 |" in text
    assert "| paper | 25.00 ± 0.00 | 25.00 | 25.00, 25.00 | -37.50 (-75.00 to +0.00) | 25.00 |" in text


def test_options_of_a_memory_are_for_its_own_kind_only() -> None:
    """The packaged config gives slots to its Turing machine, which the other memories would not understand."""
    config = "conformer_ntm_digits"
    assert memory_arguments(config, "release") == ["--model.config.memory=release"]
    assert memory_arguments(config, "exponential", ["--a=1", "none:--b=2", "exponential:--c=3"]) == [
        "--model.config.memory=exponential",
        "--model.config.memory_options={}",
        "--a=1",
        "--c=3",
    ]
