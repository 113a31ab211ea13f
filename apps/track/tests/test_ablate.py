import json
from pathlib import Path

import pytest
import torch

from mnemic_kit import training
from mnemic_track import cli
from mnemic_track.commands import ablate

TINY = """
trainer: {accelerator: cpu, max_epochs: 1, enable_progress_bar: false, enable_model_summary: false}
model:
  config: {dim: 32, num_heads: 2, ffn_dim: 32, num_levels: 2, encoder_layers: 1, decoder_layers: 2, num_queries: 4,
           capacity: 6, backbone: test_resnet, backbone_levels: 2}
  settings: {short_side: 64, long_side: 96}
data:
  train: [{name: generated, world: {num_sequences: 1, num_frames: 3, size: [64, 96]}}]
  val: [{name: generated, world: {num_sequences: 1, num_frames: 2, size: [64, 96]}}]
  augmentation: {scales: [64], max_size: 96, crop_prob: 0.0}
"""


def test_each_memory_is_trained_with_each_seed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, out = tmp_path / "tiny.yaml", tmp_path / "out"
    config.write_text(TINY)
    command = ["ablate", "--config", str(config), "--memories", "none", "window", "--seeds", "0", "--out", str(out)]
    with pytest.raises(SystemExit, match="0"):
        cli.main(command)
    first = json.loads((out / "ablation.json").read_text())["scores"]
    assert {row: len(seeds) for row, seeds in first.items()} == {"none": 1, "window": 1, "window, switched off": 1}
    assert "| window |" in (out / "ablation.md").read_text()
    assert (out / "ablation.png").exists()

    (out / "none-0" / "scores.json").unlink()  # as if killed between the training and its result
    monkeypatch.setattr(training, "loggers", lambda root: [])
    with pytest.raises(SystemExit, match="0"):
        cli.main(command)
    assert json.loads((out / "ablation.json").read_text())["scores"] == first


def test_clips_go_on_from_the_detector_of_their_seed_whose_features_stay(tmp_path: Path) -> None:
    config, out = tmp_path / "tiny.yaml", tmp_path / "out"
    text = TINY.replace("max_epochs: 1", "max_epochs: 3").replace(
        "test_resnet", "test_resnet, pretrained_backbone: false"
    )
    config.write_text(text + "  clip_lengths: {0: 1, 1: 2, 2: 3}\n")
    command = ["ablate", "--config", str(config), "--memories", "window", "--seeds", "3", "--out", str(out)]
    with pytest.raises(SystemExit, match="0"):
        cli.main(command)
    scores = json.loads((out / "ablation.json").read_text())["scores"]
    assert {row: len(seeds) for row, seeds in scores.items()} == {"window": 1, "window, switched off": 1}
    before, after = (
        torch.load(out / run / "checkpoints" / "last.ckpt", weights_only=True) for run in ("detector-3", "window-3")
    )
    assert (before["epoch"], after["epoch"]) == (0, 1)
    changed = {
        name.split(".")[1]
        for name, weight in before["state_dict"].items()
        if not torch.equal(weight, after["state_dict"][name])
    }
    assert changed == {"decoder", "class_heads", "detect_query", "anchors", "track_memory"}


def test_the_stages_share_the_epochs_of_the_config() -> None:
    assert ablate.single_frame_epochs("memotr_generated") == 3
    options = ablate.clip_stage("memotr_generated", Path("detector.ckpt"))
    assert options[:3] == ["--trainer.max_epochs=2", "--model.lr_drops=[1]", "--data.clip_lengths={0: 4}"]
    assert ablate.clip_stage("memotr_dancetrack", None) == []


def test_options_of_a_memory_are_for_that_memory_only() -> None:
    """The packaged config gives its exponential memory a decay, which no other memory would understand."""
    assert ablate.memory_arguments("memotr_generated", "exponential") == ["--model.config.memory=exponential"]
    assert "--model.config.memory_options=null" in ablate.memory_arguments("memotr_generated", "window")


def test_the_table_has_mean_and_spread() -> None:
    scores = dict.fromkeys(ablate.SCORES, 0.5)
    table = ablate.markdown({"none": [scores | {"hota": 0.4}, scores | {"hota": 0.6}]})
    assert "| none | 50.0 ± 14.1 |" in table
    assert "| 40.0, 60.0 |" in table
