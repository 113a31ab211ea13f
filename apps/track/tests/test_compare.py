import json
from pathlib import Path

import pytest
import torch

from mnemic_kit import training
from mnemic_kit.atomic_files import atomic_write
from mnemic_kit.configs import find_config
from mnemic_kit.experiment import summarize
from mnemic_kit.experiment.report import markdown
from mnemic_kit.made_files import protecting
from mnemic_kit.memory_option import memory_argument
from mnemic_track import cli
from mnemic_track.commands import compare
from mnemic_track.options import CONFIGS

TINY = """
trainer: {accelerator: cpu, max_epochs: 1, enable_progress_bar: false, enable_model_summary: false}
model:
  config: {dim: 32, num_heads: 2, ffn_dim: 32, num_levels: 2, encoder_layers: 1, decoder_layers: 2, num_queries: 4,
           capacity: 6, backbone: test_resnet, pretrained_backbone: false, backbone_levels: 2}
  settings: {short_side: 64, long_side: 96}
data:
  train: [{name: generated, world: {num_sequences: 1, num_frames: 3, size: [64, 96]}}]
  val: [{name: generated, world: {num_sequences: 1, num_frames: 2, size: [64, 96]}}]
  augmentation: {scales: [64], max_size: 96, crop_prob: 0.0}
"""


def packaged(name: str) -> Path:
    return find_config(name, CONFIGS)


def test_each_memory_is_trained_with_each_seed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, out = tmp_path / "tiny.yaml", tmp_path / "out"
    config.write_text(TINY)
    command = ["compare", "--config", str(config), "--memories", "none", "window", "--seeds", "0", "--out", str(out)]
    with pytest.raises(SystemExit, match="0"):
        cli.main(command)
    document = json.loads((out / "compare.json").read_text())
    assert seeds_of(document) == {
        "with its memory": {"none": ["0"], "window": ["0"]},
        "memory switched off": {"window": ["0"]},
    }
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


def seeds_of(
    document: dict[str, dict[str, dict[str, dict[str, dict[str, object]]]]],
) -> dict[str, dict[str, list[str]]]:
    """Return the seeds of each row of each table."""
    return {
        condition: {name: list(cells["hota"]["of_seeds"]) for name, cells in rows.items()}
        for condition, rows in document["scores"].items()
    }


def test_clips_go_on_from_the_detector_of_their_seed_whose_features_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = tmp_path / "tiny.yaml", tmp_path / "out"
    text = TINY.replace("max_epochs: 1", "max_epochs: 3")
    config.write_text(text + "  clip_lengths: {0: 1, 1: 2, 2: 3}\n")
    command = ["compare", "--config", str(config), "--memories", "window", "--seeds", "3", "--out", str(out)]
    with pytest.raises(SystemExit, match="0"):
        cli.main(command)
    assert seeds_of(json.loads((out / "compare.json").read_text())) == {
        "with its memory": {"window": ["3"]},
        "memory switched off": {"window": ["3"]},
    }
    before, after = (
        torch.load(out / run / "checkpoints" / "last.ckpt", weights_only=True) for run in ("detector-3", "window-3")
    )
    assert (before["epoch"], after["epoch"]) == (0, 1)
    changed = {
        name.split(".")[1]
        for name, weight in before["state_dict"].items()
        if not torch.equal(weight, after["state_dict"][name])
    }
    assert changed == {"decoder", "class_heads", "detect_queries", "track_memory"}

    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        cli.main([*command, "--options", '["--data.batch_size=2"]'])
    assert "(options: none there, --data.batch_size=2 here); give another --out" in capsys.readouterr().err


def test_the_stages_share_the_epochs_of_the_config() -> None:
    assert compare.single_frame_epochs(packaged("memotr_generated")) == 3
    options = compare.clip_stage(packaged("memotr_generated"), Path("detector.ckpt"))
    assert options[:3] == ["--trainer.max_epochs=2", "--model.lr_drops=[1]", "--data.clip_lengths={0: 4}"]
    assert compare.clip_stage(packaged("memotr_dancetrack"), None) == []


def test_options_of_a_memory_are_for_that_memory_only() -> None:
    """The packaged config gives its exponential memory a decay, which no other memory would understand."""
    config = packaged("memotr_generated")
    assert memory_argument(config, "exponential", compare.MEMORY) == (
        '--model.config.memory={"name": "exponential", "options": {"decay": 0.01}}'
    )
    assert memory_argument(config, "window", compare.MEMORY) == (
        '--model.config.memory={"name": "window", "options": {}}'
    )


def test_the_table_has_mean_and_spread() -> None:
    scores = dict.fromkeys(compare.METRICS, 0.5)
    found = {"none": {seed: {compare.ON: scores | {"hota": hota}} for seed, hota in enumerate((0.4, 0.6))}}
    table = " ".join(markdown(summarize(found, compare.METRICS, "none"), compare.METRICS, "none").split())
    assert "| none | 50.0 ± 14.1 |" in table
    assert "| 40.0, 60.0 |" in table
