import subprocess
import sys
from pathlib import Path

import pytest
from trainings import Stop, losses, run_and_kill

from mnemic_actions.commands import train
from mnemic_actions.datamodule import ActionData
from mnemic_actions.sources import DataSource
from mnemic_core.errors import UserError
from mnemic_kit.run_folder import fit_or_resume
from mnemic_vision.matr import LocalizerCheckpoint
from mnemic_vision.matr.data import GeneratedActions, InputConfig
from mnemic_vision.matr.results import read_results

TINY = """
trainer:
  accelerator: cpu
  max_epochs: 2
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
last_checkpoint: {every_n_train_steps: 2}
model:
  config: {modalities: [16], dim: 8, ffn_dim: 8, encoder_layers: 1, encoder_heads: 2, decoder_layers: 1,
    decoder_heads: 2, window: 8, num_queries: 2, capacity: 2, standardizes: true, dropout: 0.1, attention_dropout: 0.0}
  schedule: null
  optimizer: adamw
  warmup_steps: 2
data:
  train: [{name: generated, world: {num_streams: 2, num_frames: 40}}]
  val: [{name: generated, world: {num_streams: 2, num_frames: 40, seed: 1}}]
  classes: [class_0, class_1, class_2, class_3]
  inputs: {channels: 16}
  augmentation: {mirror: 0.0, rotation: 0.0}
  sampling: balanced
  windows_per_epoch: 32
  batch_size: 8
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def fit(config: Path, folder: Path, *options: str) -> None:
    train.main("fit", ["--config", str(config), f"--trainer.default_root_dir={folder}", *options])


def test_fit_validates_and_its_checkpoint_runs_everywhere(config: Path, tmp_path: Path) -> None:
    fit(config, tmp_path / "run")
    loaded = LocalizerCheckpoint.load(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert loaded.settings.classes == ("class_0", "class_1", "class_2", "class_3")
    assert loaded.provenance["metrics"].keys() >= {"val/map_average", "val/map_0.5"}
    assert loaded.model.feature_scale.std() > 0  # of the training data
    assert len(losses(tmp_path / "run")) == 8


def test_a_stopped_run_continues_on_the_same_loss_curve(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(config, tmp_path / "whole")
    for batches in (2, 4, 6):  # in the first epoch, between the two, in the second
        monkeypatch.setitem(train.TRAINER_DEFAULTS, "callbacks", [Stop(batches)])
        with pytest.raises(RuntimeError, match="killed"):
            fit_or_resume(train.main, ["--config", str(config)], tmp_path / "stopped")
    monkeypatch.delitem(train.TRAINER_DEFAULTS, "callbacks")
    fit_or_resume(train.main, ["--config", str(config)], tmp_path / "stopped")
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_process_continues_on_the_same_loss_curve(config: Path, tmp_path: Path) -> None:
    fit(config, tmp_path / "whole")
    command = [sys.executable, "-m", "mnemic_actions", "fit", "--config", str(config)]
    command += [f"--trainer.default_root_dir={tmp_path / 'killed'}", "--data.num_workers=1"]
    run_and_kill(command, tmp_path / "killed", steps=4)
    subprocess.run([*command, "--resume"], check=True, capture_output=True)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


def test_mixed_precision_trains_with_finite_losses(config: Path, tmp_path: Path) -> None:
    fit(config, tmp_path, "--trainer.precision=bf16-mixed", "--trainer.max_steps=3")
    assert all(0 < float(loss) < 100 for loss in losses(tmp_path).values())


def test_training_has_dropout(config: Path, tmp_path: Path) -> None:
    fit(config, tmp_path / "some", "--trainer.max_steps=1")
    fit(config, tmp_path / "none", "--trainer.max_steps=1", "--model.config.dropout=0.0")
    assert losses(tmp_path / "some") != losses(tmp_path / "none")


def test_predictions_are_a_file_in_the_form_of_activitynet(config: Path, tmp_path: Path) -> None:
    fit(config, tmp_path, "--trainer.max_steps=1")
    train.main("predict", ["--config", str(config), f"--trainer.default_root_dir={tmp_path}", "--ckpt_path=last"])
    assert list(read_results(tmp_path / "predictions.json")) == ["generated_1_000", "generated_1_001"]


@pytest.mark.parametrize("memory", ["exponential", "none"])
def test_other_memories_train(config: Path, tmp_path: Path, memory: str) -> None:
    fit(config, tmp_path, f"--model.config.memory.name={memory}", "--trainer.max_steps=2")
    loaded = LocalizerCheckpoint.load(tmp_path / "checkpoints" / "last.ckpt")
    assert loaded.model.config.memory.name == memory


def data(**options: object) -> ActionData:
    source = [DataSource("generated", world=GeneratedActions(num_streams=2, num_frames=40))]
    classes = ("class_0", "class_1", "class_2", "class_3")
    return ActionData(source, **{"classes": classes, "inputs": InputConfig(channels=16), **options})


def test_classes_and_widths_other_than_those_of_the_config_are_refused() -> None:
    with pytest.raises(UserError, match=r"data\.train has the classes class_2, class_3, which data\.classes does not"):
        data(classes=("class_0", "class_1")).setup("fit")
    with pytest.raises(UserError, match="16 channels, but the model was made for 12"):
        data(inputs=InputConfig(channels=12)).setup("fit")


def test_two_streams_of_one_name_are_refused() -> None:
    twice = [DataSource("generated", world=GeneratedActions(num_streams=1, num_frames=40))] * 2
    with pytest.raises(UserError, match=r"data\.train has two streams of the name generated_0_000: rename one"):
        ActionData(twice, classes=twice[0].world.classes, inputs=InputConfig(channels=16)).setup("fit")


def test_sources_without_their_paths_are_refused() -> None:
    with pytest.raises(UserError, match="thumos14 needs root"):
        DataSource("thumos14").open()
    with pytest.raises(UserError, match="features needs feature_set"):
        DataSource("features").open()
