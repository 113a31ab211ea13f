from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from mnemic_core.errors import UserError
from mnemic_kit.training import loggers
from mnemic_track.commands import train
from mnemic_track.datamodule import DataSource, TrackingData, World
from mnemic_track.task import TrackingTask
from mnemic_vision.memotr import Memotr, MemotrConfig, Thresholds, build_memotr
from mnemic_vision.memotr.checkpoint import TrackerCheckpoint, TrackerSettings
from mnemic_vision.memotr.data import ClipAugmentation

TINY = MemotrConfig(
    dim=32,
    num_heads=2,
    ffn_dim=32,
    num_levels=2,
    encoder_layers=1,
    decoder_layers=2,
    num_queries=4,
    capacity=6,
    backbone="test_resnet",
    pretrained_backbone=False,
    backbone_levels=2,
    two_stage=True,
    denoising_groups=1,
    update_threshold=0.005,
)
SETTINGS = TrackerSettings(64, 96, Thresholds(detect=0.0, track=0.0, result=0.0, min_area=0.0), ("walker",))
WORLD = World(num_sequences=2, num_frames=3, size=(64, 96), seed=3)


def trainer(root: Path, **options: object) -> Trainer:
    defaults = {"max_epochs": 1, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Trainer(
        logger=loggers(str(root)), **{**train.TRAINER_DEFAULTS, "default_root_dir": root, **defaults, **options}
    )


def data(**options: object) -> TrackingData:
    source = [DataSource("generated", world=WORLD)]
    return TrackingData(source, source, augmentation=ClipAugmentation(scales=(64,), max_size=96), **options)


def parameters_with_gradient(model: Memotr) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.grad is not None}


def test_fit_validates_and_its_checkpoint_runs_everywhere(tmp_path: Path) -> None:
    task, run = TrackingTask(TINY, SETTINGS, seed=4), trainer(tmp_path)
    run.fit(task, data())
    assert {"val/hota", "val/deta", "val/assa", "val/mota", "val/idf1", "train/loss"} <= run.callback_metrics.keys()
    run.save_checkpoint(tmp_path / "some.ckpt")
    loaded = TrackerCheckpoint.load(tmp_path / "some.ckpt")
    assert (loaded.model.config, loaded.settings) == (TINY, SETTINGS)
    made = loaded.provenance
    assert all(torch.equal(value, loaded.model.state_dict()[key]) for key, value in task.model.state_dict().items())
    assert (made["seed"], made["step"], made["package"]) == (4, 4, "mnemic-track")
    assert made["metrics"].keys() >= {"val/hota"}
    assert TrackerCheckpoint.load(tmp_path / "some.ckpt").tracker().short_side == 64


def test_predictions_are_mot_text(tmp_path: Path) -> None:
    paths = trainer(tmp_path).predict(TrackingTask(TINY, SETTINGS), data())
    assert paths is not None
    assert [Path(path).name for path in paths] == ["generated-3-000.txt", "generated-3-001.txt"]
    assert Path(paths[0]).read_text().startswith("1,1,")


def test_random_weights_are_not_taken_for_pretrained_ones(tmp_path: Path) -> None:
    task = TrackingTask(replace(TINY, pretrained_backbone=True))
    with pytest.raises(UserError, match=r"but no weights are given: set --model\.backbone_weights"):
        trainer(tmp_path).fit(task, data())


def test_predictions_with_several_classes_are_bdd100k_json(tmp_path: Path) -> None:
    settings = TrackerSettings(64, 96, SETTINGS.thresholds, ("walker", "rider"))
    (first, _) = trainer(tmp_path).predict(TrackingTask(TINY, settings), data())
    assert Path(first).suffix == ".json"


def test_parameters_are_in_the_official_groups() -> None:
    task = TrackingTask(TINY, lr=1.0, lr_backbone=2.0, lr_points=3.0)
    (optimizer,), _ = task.configure_optimizers()
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    named = {name: rates[id(parameter)] for name, parameter in task.model.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[0] for name, rate in named.items() if rate == 2} == {"backbone"}
    assert all("sampling_offsets" in name for name, rate in named.items() if rate == 3)
    assert any("track_memory" in name for name, rate in named.items() if rate == 1)


@pytest.mark.parametrize("length", [1, 2])
def test_every_parameter_gets_a_gradient_so_that_processes_stay_in_step(tmp_path: Path, length: int) -> None:
    task = TrackingTask(TINY, SETTINGS)
    trainer(tmp_path, max_steps=1, limit_val_batches=0).fit(task, data(clip_lengths={0: length}))
    trained = {name for name, parameter in task.model.named_parameters() if parameter.requires_grad}
    assert trained - parameters_with_gradient(task.model) == set()


def test_training_starts_from_a_checkpoint_of_an_earlier_stage(tmp_path: Path) -> None:
    detector = build_memotr(TINY)
    TrackerCheckpoint(detector, SETTINGS, {}).save(tmp_path / "detector.safetensors")
    task = TrackingTask(TINY, init_checkpoint=tmp_path / "detector.safetensors")
    assert all(torch.equal(value, detector.state_dict()[key]) for key, value in task.model.state_dict().items())


def test_a_checkpoint_of_other_sizes_is_refused(tmp_path: Path) -> None:
    TrackerCheckpoint(build_memotr(TINY), SETTINGS, {}).save(tmp_path / "tiny.safetensors")
    with pytest.raises(ValueError, match="does not fit this model"):
        TrackingTask(MemotrConfig(backbone="test_resnet"), init_checkpoint=tmp_path / "tiny.safetensors")


def test_averaged_weights_and_accumulation_train(tmp_path: Path) -> None:
    from lightning.pytorch.callbacks import EMAWeightAveraging

    run = trainer(tmp_path, callbacks=[EMAWeightAveraging()], accumulate_grad_batches=2, limit_val_batches=0)
    run.fit(TrackingTask(TINY, SETTINGS), data())
    assert run.global_step == 2


@pytest.mark.slow
def test_two_processes_train_without_looking_for_unused_parameters(tmp_path: Path) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-m", "mnemic_track", "fit", "--config", "memotr_generated", "--trainer.max_steps=2"]
    command += ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"]
    command += ["--trainer.enable_progress_bar=false", f"--trainer.default_root_dir={tmp_path}"]
    command += ["--model.config.backbone=test_resnet", "--model.config.dim=32", "--data.clip_lengths={0: 2}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert TrackerCheckpoint.load(tmp_path / "checkpoints" / "last.ckpt").provenance["step"] == 2


def test_frozen_parts_are_not_trained(tmp_path: Path) -> None:
    task, run = TrackingTask(TINY, SETTINGS, frozen=("backbone", "encoder")), trainer(tmp_path, limit_val_batches=0)
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    run.fit(task, data())
    changed = {name for name, value in task.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert not [name for name in changed if name.startswith(("backbone", "encoder"))]
