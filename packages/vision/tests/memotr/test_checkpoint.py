import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from mnemic_core import MemoryConfig
from mnemic_vision.memotr import Memotr, MemotrConfig, Thresholds, Tracker
from mnemic_vision.memotr.checkpoint import TrackerCheckpoint, TrackerSettings

Build = Callable[[MemotrConfig], Memotr]
SETTINGS = TrackerSettings(64, 96, Thresholds(detect=0.6, miss_tolerance=7), classes=("cat", "dog"))
PROVENANCE = {"command": "fit", "seed": 3, "hota": 0.5}


@pytest.fixture
def model(config: MemotrConfig, build: Build) -> Memotr:
    return build(replace(config, memory=MemoryConfig("exponential", {"decay": 0.05})))


@pytest.fixture
def saved(model: Memotr, tmp_path: Path) -> Path:
    path = tmp_path / "tracker.safetensors"
    TrackerCheckpoint(model, SETTINGS, PROVENANCE).save(path)
    return path


def test_a_saved_model_comes_back_bit_for_bit(model: Memotr, saved: Path) -> None:
    loaded = TrackerCheckpoint.load(saved)
    assert (loaded.model.config, loaded.settings, loaded.provenance) == (model.config, SETTINGS, PROVENANCE)
    assert not loaded.model.training
    state = loaded.model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_half_precision_takes_half_the_space_and_is_close(model: Memotr, saved: Path) -> None:
    path = saved.with_name("half.safetensors")
    TrackerCheckpoint(model, SETTINGS, PROVENANCE).save(path, half=True)
    assert path.stat().st_size < 0.6 * saved.stat().st_size
    loaded = TrackerCheckpoint.load(path).model.state_dict()
    for name, tensor in model.state_dict().items():
        assert loaded[name].dtype == tensor.dtype
        assert_close(loaded[name], tensor, atol=1e-3, rtol=1e-3)


def test_a_tracker_from_a_file_tracks_like_the_model_that_was_saved(model: Memotr, saved: Path) -> None:
    tracker, expected = TrackerCheckpoint.load(saved).tracker(), Tracker(model, SETTINGS.thresholds, 64, 96)
    for frame in np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8):
        assert tracker(frame) == expected(frame)


def test_a_lightning_checkpoint_is_read_too(model: Memotr, tmp_path: Path) -> None:
    header = {
        "kind": "memotr",
        "format_version": 2,
        "config": asdict(model.config),
        "settings": asdict(SETTINGS),
        "provenance": PROVENANCE,
    }
    assert TrackerCheckpoint(model, SETTINGS, PROVENANCE).header() == json.loads(json.dumps(header))
    weights = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"state_dict": weights, "epoch": 1, "mnemic": header}, tmp_path / "last.ckpt")
    loaded = TrackerCheckpoint.load(tmp_path / "last.ckpt")
    assert loaded.settings == SETTINGS
    assert all(torch.equal(loaded.model.state_dict()[name], tensor) for name, tensor in model.state_dict().items())


def rewrite(path: Path, **changes: object) -> None:
    """Change the header of a saved model."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["mnemic"])
    save_file(load_file(path), path, {"mnemic": json.dumps(header | changes)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "wavenet"}, r"tracker\.safetensors is a checkpoint of kind 'wavenet', expected 'memotr'"),
        ({"format_version": 3}, r"tracker\.safetensors has format 3, newer than 2: update mnemic-vision"),
        ({"config": {"depth": 3}}, r"settings that this version does not know \(depth\): update mnemic-vision"),
        ({"config": {"num_queries": 7}}, r"does not fit this model \("),
    ],
)
def test_other_files_are_refused_in_one_line(saved: Path, changes: dict[str, object], message: str) -> None:
    rewrite(saved, **changes)
    with pytest.raises(ValueError, match=message) as error:
        TrackerCheckpoint.load(saved)
    assert "\n" not in str(error.value)


def test_a_truncated_file_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"tracker\.safetensors is truncated or not a checkpoint"):
        TrackerCheckpoint.load(saved)


def test_a_file_without_header_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "a.ckpt")
    for name in ("a.safetensors", "a.ckpt"):
        with pytest.raises(ValueError, match=rf"{name} is a checkpoint of kind None, expected 'memotr'"):
            TrackerCheckpoint.load(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*none\.safetensors"):
        TrackerCheckpoint.load(tmp_path / "none.safetensors").tracker()


def test_a_failed_write_leaves_the_earlier_file(model: Memotr, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def disk_full(_: object, path: Path, *__: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mnemic_core.tensor_file.save_file", disk_full)
    with pytest.raises(OSError, match="No space left"):
        TrackerCheckpoint(model, SETTINGS, PROVENANCE).save(saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
