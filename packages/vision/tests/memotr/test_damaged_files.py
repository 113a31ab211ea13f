"""Damaged files of weights are read, or refused in one line."""

from collections.abc import Callable
from pathlib import Path

import torch
from damaged_files import check_refusals

from mnemic_vision.backbone import build_backbone, load_backbone
from mnemic_vision.memotr import (
    Memotr,
    MemotrConfig,
    Thresholds,
    Tracker,
    TrackerCheckpoint,
    TrackerSettings,
    import_detector,
    load_official,
)

Build = Callable[[MemotrConfig], Memotr]


def test_damaged_tracker_checkpoints_are_refused_in_one_line(
    config: MemotrConfig, build: Build, tmp_path: Path
) -> None:
    given = TrackerCheckpoint(build(config), TrackerSettings(64, 96, Thresholds(), ("cat", "dog")), {"seed": 1})
    given.save(tmp_path / "a.safetensors")
    (tmp_path / "damaged").mkdir()
    check_refusals(TrackerCheckpoint.load, tmp_path / "a.safetensors", tmp_path / "damaged", count=5)


def test_damaged_weights_of_others_are_refused_in_one_line(config: MemotrConfig, build: Build, tmp_path: Path) -> None:
    model, backbone = build(config), build_backbone("test_efficientnet", 2)
    (tmp_path / "damaged").mkdir()
    readers: dict[str, Callable[[Path], object]] = {
        "official.pth": lambda path: load_official(model, path),
        "detector.pth": lambda path: import_detector(model, path),
        "backbone.pth": lambda path: load_backbone(backbone, path),
    }
    complete = model.state_dict()
    detector = {name: value for name, value in complete.items() if not name.startswith("track_memory")}
    heads = {name: value for name, value in detector.items() if name.startswith("class_heads")}
    detector |= {name: value.new_zeros(91, *value.shape[1:]) for name, value in heads.items()}
    body = backbone.get_submodule("body").state_dict()
    for name, weights in zip(readers, (complete, detector, body), strict=True):
        torch.save({"model": weights}, tmp_path / name)
        check_refusals(readers[name], tmp_path / name, tmp_path / "damaged", count=2)


def test_damaged_sessions_are_refused_in_one_line(config: MemotrConfig, build: Build, tmp_path: Path) -> None:
    tracker = Tracker(build(config), short_side=64, long_side=96)
    tracker.save(tmp_path / "stream")
    (tmp_path / "damaged").mkdir()
    check_refusals(tracker.load, tmp_path / "stream", tmp_path / "damaged")
