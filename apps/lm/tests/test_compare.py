import json
import re
from pathlib import Path

import pytest
import yaml

from mnemic_core import MemoryConfig, TransformerConfig
from mnemic_kit import training
from mnemic_kit.atomic_files import atomic_write
from mnemic_kit.configs import find_config
from mnemic_kit.experiment import summarize
from mnemic_kit.experiment.report import markdown
from mnemic_kit.made_files import protecting
from mnemic_lm import cli
from mnemic_lm.commands import compare, train
from mnemic_lm.model import ProductKeyConfig
from mnemic_lm.sizes import match_size

TINY = """
trainer: {accelerator: cpu, max_steps: 2, enable_progress_bar: false, enable_model_summary: false}
model: {transformer: {dim: 16, num_layers: 2, num_heads: 2, ffn_dim: 128, memory: {name: window}}}
data: {train: [TEXT], val: [TEXT], segment_length: 8, batch_size: 2}
"""
SMALLER = [
    "window:--model.transformer.memory.options.capacity=4",
    "window:--model.transformer.memory_layers=[1]",
    "product_key:--model.product_keys={sub_keys: 4, num_heads: 1, k: 2, key_dim: 4}",
]


def test_each_memory_is_trained_with_each_seed_once_and_at_equal_size(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, out = tmp_path / "tiny.yaml", tmp_path / "out"
    config.write_text(TINY.replace("TEXT", str(text)))
    command = ["compare", "--config", str(config), "--memories", "none", "window", "product_key"]
    command += ["--seeds", "0", "--out", str(out), "--options", json.dumps(SMALLER)]
    with pytest.raises(SystemExit, match="0"):
        cli.main(command)
    document = json.loads((out / "compare.json").read_text())
    first = document["scores"]["validation"]
    assert {memory: list(cells["off"]["of_seeds"]) for memory, cells in first.items()} == {
        "none": ["0"],
        "window": ["0"],
        "product_key": ["0"],
    }
    found = {memory: {name: cell["mean"] for name, cell in cells.items()} for memory, cells in first.items()}
    assert found["none"]["off"] == found["none"]["bits_per_byte"] == pytest.approx(found["none"]["shuffled"])
    assert found["window"]["off"] != found["window"]["bits_per_byte"]
    sizes = [scores["parameters"] for scores in found.values()]
    assert sizes == [pytest.approx(sizes[0], rel=0.01)] * 3
    assert found["none"]["ffn_dim"] == 128 > found["window"]["ffn_dim"]
    assert "| window " in (out / "compare.md").read_text()
    assert (out / "compare.png").exists()

    record = out / "none-0" / "run.json"
    content = json.loads(record.read_text())
    with protecting([]), atomic_write(record) as file:  # as if killed between the training and its result
        json.dump(content | {"scores": {}}, file)
    monkeypatch.setattr(training, "loggers", lambda root: [])
    with pytest.raises(SystemExit, match="0"):
        cli.main(command)
    assert json.loads((out / "compare.json").read_text()) == document
    assert json.loads(record.read_text()) == content


def test_other_options_never_show_the_scores_of_earlier_ones(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = tmp_path / "tiny.yaml", tmp_path / "out"
    config.write_text(TINY.replace("TEXT", str(text)))
    monkeypatch.setattr(training, "loggers", lambda root: [])
    command = ["compare", "--config", str(config), "--memories", "none", "--seeds", "0", "--out", str(out)]
    with pytest.raises(SystemExit, match="0"):
        cli.main(command)
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        cli.main([*command, "--options", '["--trainer.max_steps=3"]'])
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "(options: none there, --trainer.max_steps=3 here); give another --out" in shown.err
    assert shown.err.count("\n") == 1


CONFIG = find_config("shakespeare_bytes", train.CONFIGS)


@pytest.mark.parametrize("memory", compare.memory_choices())
def test_every_memory_fits_the_packaged_config(memory: str) -> None:
    arguments = dict(word.removeprefix("--model.").split("=") for word in compare.make_variant(memory, CONFIG).options)
    chosen, layers = (yaml.safe_load(arguments[f"transformer.{name}"]) for name in ("memory", "memory_layers"))
    keys = yaml.safe_load(arguments["product_keys"])
    transformer = TransformerConfig(
        dim=128,
        num_layers=4,
        num_heads=4,
        ffn_dim=512,
        memory_layers=layers and tuple(layers),
        memory=MemoryConfig(**chosen),
    )
    matched = match_size(transformer, 257, None if keys is None else ProductKeyConfig(**keys))
    assert 200 < matched.ffn_dim <= 512
    assert set(compare.MEMORIES) <= set(compare.memory_choices())


def test_the_table_has_mean_and_spread_and_marks_what_looks_ahead() -> None:
    run = {"bits_per_byte": 2.0, "off": 3.0, "shuffled": 2.5, "parameters": 1000.0, "state_bytes": 8.0}
    found = {"hierarchical": {0: {"validation": run}, 1: {"validation": run | {"bits_per_byte": 2.2}}}}
    table = summarize(found, compare.METRICS, "hierarchical")
    variant = compare.make_variant("hierarchical", CONFIG)
    text = markdown(table, compare.METRICS, "hierarchical", {variant.name: variant.note})
    assert "| hierarchical (*) | 2.100 ± 0.141 | 3.000 ± 0.000 |" in text
    assert "| 1,000 | 8 | 2.000, 2.200 |" in " ".join(text.split())
    assert "too good by an unknown amount" in text


def test_an_unknown_memory_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["compare", "--memories", "elephant", "--out", str(tmp_path)])
    assert re.search(r"memories: must be one of .*window.*, got 'elephant'", capsys.readouterr().err)
