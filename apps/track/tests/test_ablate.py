import json
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

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
    assert {memory: len(runs) for memory, runs in first.items()} == {"none": 1, "window": 1}
    assert "| window |" in (out / "ablation.md").read_text()
    assert (out / "ablation.png").exists()

    (out / "none-0" / "scores.json").unlink()  # as if killed between the training and its result
    monkeypatch.setattr(training, "loggers", lambda root: [])
    with pytest.raises(SystemExit, match="0"):
        cli.main(command)
    assert json.loads((out / "ablation.json").read_text())["scores"] == first


def test_epochs_of_single_frames_are_shared_and_change_no_result(tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY.replace("max_epochs: 1", "max_epochs: 2") + "  clip_lengths: {0: 1, 1: 2}\n")
    assert ablate.single_frame_epochs(str(config)) == 1
    common = [f"--config={config}", "--seed_everything=3"]
    start = ablate.train_without_memory(common, 1, tmp_path / "start")
    arguments = [*common, "--model.config.memory=window"]
    shared = ablate.run_once(arguments, tmp_path / "shared", start)
    assert shared == ablate.run_once(arguments, tmp_path / "whole")
    weights = [
        torch.load(tmp_path / run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for run in ("shared", "whole")
    ]
    assert_close(weights[0], weights[1], atol=0.0, rtol=0.0)


def test_options_of_a_memory_are_for_that_memory_only() -> None:
    """The packaged config gives its exponential memory a decay, which no other memory would understand."""
    assert ablate.memory_arguments("memotr_generated", "exponential") == ["--model.config.memory=exponential"]
    assert "--model.config.memory_options=null" in ablate.memory_arguments("memotr_generated", "window")


def test_the_table_has_mean_and_spread() -> None:
    scores = dict.fromkeys(ablate.SCORES, 0.5)
    table = ablate.markdown({"none": [scores | {"hota": 0.4}, scores | {"hota": 0.6}]})
    assert "| none | 50.0 ± 14.1 |" in table
    assert "| 40.0, 60.0 |" in table
