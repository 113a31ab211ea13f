import json
from pathlib import Path

import pytest

from mnemic_kit import training
from mnemic_kit.atomic_files import atomic_write
from mnemic_kit.configs import find_config
from mnemic_kit.experiment import Cell, Comparison, Variant, summarize
from mnemic_kit.experiment.report import markdown
from mnemic_kit.made_files import protecting
from mnemic_kit.memory_option import memory_argument
from mnemic_speech.metrics import ErrorCounts
from mnemic_transcribe import cli
from mnemic_transcribe.commands import train
from mnemic_transcribe.comparison import METRICS, error_scores, over_utterances, pair_utterances

RIGHT, HALF, WRONG = (ErrorCounts(deletions=wrong, length=2) for wrong in (0, 1, 2))
LONG = ErrorCounts(substitutions=5, length=50)


def test_each_memory_is_trained_with_each_seed_once_and_tested_in_every_way(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    manifest: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    options = ["--trainer.max_epochs=1", "slot_attention:--model.config.memory.options.num_slots=3"]
    command = ["compare", "--config", str(config), "--memories", "none", "slot_attention", "--seeds", "0"]
    command += ["--out", str(out), "--decodings", "attention", "--tests", str(manifest), "--noises", "white:5"]
    command += ["--options", json.dumps(options), "--device", "cpu"]
    with pytest.raises(SystemExit, match="0"):
        cli.main(command)
    document = json.loads((out / "compare.json").read_text())
    first = document["scores"]
    assert list(first) == [f"{data}{noise}, attention" for data in ("validation", "all") for noise in ("", ", white:5")]
    assert first["all, attention"]["slot_attention"]["wer"]["difference"]["over"] == "utterances"
    assert first["all, attention"]["none"]["wer"]["difference"] is None
    assert "## validation, attention" in (out / "compare.md").read_text()
    assert (out / "compare.png").stat().st_size > 1000

    (out / "none-0" / "errors.json").unlink()  # as if killed between the training and its tests
    record = out / "none-0" / "run.json"
    content = json.loads(record.read_text())
    with protecting([]), atomic_write(record) as file:  # by the program, not by hand
        json.dump(content | {"scores": {}}, file)
    monkeypatch.setattr(training, "loggers", lambda root: [])
    with pytest.raises(SystemExit, match="0"):
        cli.main(command)
    assert json.loads((out / "compare.json").read_text()) == document

    manifest.write_text(manifest.read_text().replace("zero", "one"))
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        cli.main(command)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "test-all.json was made with other settings (content: " in shown.err


def test_test_sets_of_one_name_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        cli.main(["compare", "--out", str(tmp_path), "--tests", "a/x.jsonl", "b/x.jsonl"])
    assert "test data need distinct names, got validation, x, x" in capsys.readouterr().err


def cells(seeds: dict[int, list[ErrorCounts]]) -> dict[str, Cell]:
    """Return the summary of one memory in one condition."""
    found = {"none": {seed: {"dev": error_scores(errors)} for seed, errors in seeds.items()}}
    return summarize(found, METRICS, "none")["dev"]["none"]


def test_rates_are_means_over_seeds() -> None:
    found = cells({0: [RIGHT, HALF], 1: [WRONG, WRONG]})
    assert list(found["wer"].of_seeds.values()) == [0.25, 1.0]
    assert found["wer"].mean == found["deletions"].mean == 0.625
    assert found["wer"].deviation == pytest.approx(0.75 / 2**0.5)
    assert cells({0: [RIGHT]})["wer"].deviation is None


def test_rates_by_length_are_of_all_seeds() -> None:
    found = cells({0: [RIGHT, LONG], 1: [WRONG, LONG]})
    curve = {name: cell.mean for name, cell in found.items() if "@" in name}
    assert curve == {"wer@0-3 words": 0.5, "wer@41- words": 0.1}


def test_differences_are_paired_over_the_same_utterances() -> None:
    """A memory that is better on every utterance by the same amount leaves no doubt, however they differ."""
    without = [[HALF, WRONG] * 20, [HALF, WRONG] * 20]
    memory = [[RIGHT, HALF] * 20, [RIGHT, HALF] * 20]
    found = over_utterances(memory, without)
    assert found.mean == -0.5
    assert [found.low, found.high] == pytest.approx([-0.5, -0.5])
    assert found.share_better == 1.0
    unchanged = over_utterances(without, without)
    assert [unchanged.low, unchanged.high] == [0, 0]


def test_the_tables_have_spread_and_interval() -> None:
    errors = {"none": [[HALF, HALF], [WRONG, HALF]], "paper": [[RIGHT, HALF], [RIGHT, HALF]]}
    found = {
        name: {seed: {"dev, ctc": error_scores(each)} for seed, each in enumerate(seeds)}
        for name, seeds in errors.items()
    }
    paired = pair_utterances(lambda variant, seed: {"dev, ctc": errors[variant][seed]})
    text = " ".join(markdown(summarize(found, METRICS, "none", paired), METRICS, "none").split())
    assert "| none | 62.50 ± 17.68 | 62.50 ± 17.68 |" in text
    assert "| 62.50 ± 17.68 | 50.00, 75.00 | |" in text
    assert "| paper | 25.00 ± 0.00 | 25.00 ± 0.00 |" in text
    assert "| 25.00, 25.00 | -37.50 (-75.00 to +0.00) |" in text


def test_options_of_a_memory_are_for_its_own_kind_only(tmp_path: Path) -> None:
    """The packaged config gives slots to its Turing machine, which the other memories would not understand."""
    config = find_config("conformer_ntm_digits", train.CONFIGS)
    assert memory_argument(config, "turing_release", "turing_paper") == (
        '--model.config.memory={"name": "turing_release", "options": {"slots": 32, "width": 10}}'
    )
    variant = Variant("exponential", (memory_argument(config, "exponential", "turing_paper"),))
    options = ["--a=1", "none:--b=2", "exponential:--c=3"]
    run = Comparison("mnemic-transcribe", tmp_path, [variant], [0], METRICS, options=options).plan(variant, 0)
    assert run.arguments() == [
        "--seed_everything=0",
        "--a=1",
        '--model.config.memory={"name": "exponential", "options": {}}',
        "--c=3",
    ]
