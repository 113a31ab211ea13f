from pathlib import Path

import pytest
import torch
from trainings import Stop, losses

from mnemic_anomaly.commands import train
from mnemic_core.errors import UserError
from mnemic_kit.run_folder import fit_or_resume
from mnemic_vision.backbone import build_backbone
from mnemic_vision.memmc_mae import DetectorCheckpoint


def fit(config: Path, folder: Path, *options: str) -> None:
    train.main("fit", ["--config", str(config), f"--trainer.default_root_dir={folder}", *options])


def test_fit_stores_thresholds_and_what_the_images_look_like(config: Path, tmp_path: Path) -> None:
    fit(config, tmp_path / "run")
    loaded = DetectorCheckpoint.load(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert loaded.calibration.image.rule == loaded.calibration.pixel.rule == "f1"  # anomalies with masks are in val
    assert loaded.domain.usual > 0
    assert loaded.provenance["metrics"].keys() >= {"val/loss", "val/auroc", "val/aupro"}
    assert len(losses(tmp_path / "run")) == 8


def test_normal_images_alone_set_thresholds_by_quantiles(config: Path, tmp_path: Path) -> None:
    textures = "{num_train: 16, num_val: 1, num_test: 0}"  # every other image of val has a defect
    source = f"--data.images=[{{name: generated, textures: {textures}}}]"
    fit(config, tmp_path / "run", source, "--trainer.max_epochs=1")
    loaded = DetectorCheckpoint.load(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert loaded.calibration.image.rule == loaded.calibration.pixel.rule == "quantile"


def test_a_stopped_run_continues_on_the_same_loss_curve(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(config.read_text() + "  augmentation: {flip: 0.5}\n")
    fit(config, tmp_path / "whole")
    for batches in (2, 4, 6):  # in the first epoch, between the two, in the second
        monkeypatch.setitem(train.TRAINER_DEFAULTS, "callbacks", [Stop(batches)])
        with pytest.raises(RuntimeError, match="killed"):
            fit_or_resume(train.main, ["--config", str(config)], tmp_path / "stopped")
    monkeypatch.delitem(train.TRAINER_DEFAULTS, "callbacks")
    fit_or_resume(train.main, ["--config", str(config)], tmp_path / "stopped")
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")


def test_a_stopped_run_on_features_continues_on_the_same_loss_curve(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen features, their scale, averaged weights and statistics of errors are restored too."""
    averaging = "{class_path: lightning.pytorch.callbacks.EMAWeightAveraging, init_args: {decay: 0.5}}"
    config.write_text(config.read_text().replace("  log_every", f"  callbacks: [{averaging}]\n  log_every"))
    torch.manual_seed(0)
    backbone = build_backbone("test_efficientnet", 2)
    weights = tmp_path / "backbone.pth"
    torch.save(backbone.get_submodule("body").state_dict(), weights)
    options = [
        f"--model.backbone_weights={weights}",
        "--model.config.features={backbone: test_efficientnet, num_levels: 2, grid: 4}",
        "--model.config.channels=3",
        "--model.standardize=true",
        "--model.feature_flip=0.5",
    ]
    fit(config, tmp_path / "whole", *options)
    monkeypatch.setitem(train.TRAINER_DEFAULTS, "callbacks", [Stop(6)])
    with pytest.raises(RuntimeError, match="killed"):
        fit_or_resume(train.main, ["--config", str(config), *options], tmp_path / "stopped")
    monkeypatch.delitem(train.TRAINER_DEFAULTS, "callbacks")
    fit_or_resume(train.main, ["--config", str(config), *options], tmp_path / "stopped")
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")
    whole, resumed = (
        DetectorCheckpoint.load(tmp_path / name / "checkpoints" / "last.ckpt") for name in ("whole", "stopped")
    )
    assert resumed.statistics == whole.statistics is not None
    assert resumed.calibration == whole.calibration
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, rtol=0, atol=0)


def test_features_of_a_network_with_random_weights_are_refused(config: Path, tmp_path: Path) -> None:
    features = ["--model.config.features.backbone=test_efficientnet", "--model.config.channels=3"]
    with pytest.raises(UserError, match="features of test_efficientnet need its weights"):
        fit(config, tmp_path / "run", *features)


def test_lesions_in_normal_images_replace_labeled_anomalies(config: Path, tmp_path: Path) -> None:
    fit(config, tmp_path / "run", "--data.lesions={kinds: [bright]}", "--trainer.max_epochs=1")
    loaded = DetectorCheckpoint.load(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert loaded.provenance["metrics"]["val/anomalous_images"] == 2


def test_predictions_are_a_table(config: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    fit(config, root, "--trainer.max_epochs=1")
    train.main("predict", ["--config", str(config), f"--trainer.default_root_dir={root}", "--ckpt_path=last"])
    lines = (root / "scores.csv").read_text().splitlines()
    assert lines[0] == "image,score"
    assert len(lines) == 5
