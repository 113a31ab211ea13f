import json
from pathlib import Path

import pytest

from mnemic_kit import training
from mnemic_lm import cli
from mnemic_lm.commands import compare

TINY = """
trainer: {accelerator: cpu, max_steps: 2, enable_progress_bar: false, enable_model_summary: false}
model: {transformer: {dim: 16, num_layers: 2, num_heads: 2, ffn_dim: 128, memory: window}}
data: {train: [TEXT], val: [TEXT], segment_length: 8, batch_size: 2}
"""
VARIANTS = """
none:
window: {memory_options: {capacity: 4}, memory_layers: [1]}
product_key: {memory: none, product_keys: {sub_keys: 4, num_heads: 1, k: 2, key_dim: 4}}
"""


def test_each_memory_is_trained_with_each_seed_once_and_at_equal_size(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, variants, out = tmp_path / "tiny.yaml", tmp_path / "variants.yaml", tmp_path / "out"
    config.write_text(TINY.replace("TEXT", str(text)))
    variants.write_text(VARIANTS)
    command = ["compare", "--config", str(config), "--memories", "none", "window", "product_key"]
    command += ["--seeds", "0", "--out", str(out), "--variants", str(variants)]
    with pytest.raises(SystemExit, match="0"):
        cli.main(command)
    first = json.loads((out / "comparison.json").read_text())["scores"]
    assert {memory: len(runs) for memory, runs in first.items()} == {"none": 1, "window": 1, "product_key": 1}
    assert first["none"][0]["off"] == first["none"][0]["bits_per_byte"] == pytest.approx(first["none"][0]["shuffled"])
    assert first["window"][0]["off"] != first["window"][0]["bits_per_byte"]
    sizes = [runs[0]["parameters"] for runs in first.values()]
    assert sizes == [pytest.approx(sizes[0], rel=0.01)] * 3
    assert first["none"][0]["ffn_dim"] == 128 > first["window"][0]["ffn_dim"]
    assert "| window |" in (out / "comparison.md").read_text()
    assert (out / "comparison.png").exists()

    (out / "none-0" / "scores.json").unlink()  # as if killed between the training and its result
    monkeypatch.setattr(training, "loggers", lambda root: [])
    with pytest.raises(SystemExit, match="0"):
        cli.main(command)
    assert json.loads((out / "comparison.json").read_text())["scores"] == first


def test_the_packaged_variants_fit_the_packaged_configs() -> None:
    from mnemic_core import TransformerConfig
    from mnemic_lm.model import ProductKeyConfig
    from mnemic_lm.sizes import match_size

    for memory in compare.LISTED:
        variant = compare.read_variant(memory, compare.MEMORIES)
        keys, layers = variant.pop("product_keys", None), variant.pop("memory_layers", None)
        transformer = TransformerConfig(
            dim=128, num_layers=4, num_heads=4, ffn_dim=512, memory_layers=layers and tuple(layers), **variant
        )
        matched = match_size(transformer, 257, None if keys is None else ProductKeyConfig(**keys))
        assert 200 < matched.ffn_dim <= 512


def test_the_table_has_mean_and_spread_and_marks_what_looks_ahead() -> None:
    run = {"bits_per_byte": 2.0, "off": 3.0, "shuffled": 2.5, "parameters": 1000, "state_bytes": 8, "looks_ahead": True}
    table = compare.markdown({"hierarchical": [run, run | {"bits_per_byte": 2.2}]})
    assert "| hierarchical (*) | 2.100 ± 0.141 | 3.000 ± 0.000 |" in table
    assert "| 2.000, 2.200 | 1,000 | 8 |" in table
    assert "too good by an unknown amount" in table


def test_variants_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "variants.yaml"
    path.write_text("window: {capacity: 3}\n")
    with pytest.raises(ValueError, match="window has unknown capacity"):
        compare.read_variant("window", path)
    with pytest.raises(ValueError, match="memories must be among window"):
        compare.read_variant("none", path)
    path.write_text("[")
    with pytest.raises(ValueError, match="is no YAML"):
        compare.read_variant("none", path)
    with pytest.raises(FileNotFoundError, match="no file of variants"):
        compare.read_variant("none", tmp_path / "absent.yaml")
