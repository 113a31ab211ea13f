"""No command writes over one of its inputs, or over a file that it did not make."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from action_checkpoints import command, mistake


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out pictures, which take most of the time of a run."""
    monkeypatch.setattr("mnemic_actions.running.can_plot", lambda: False)


def refuse(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    line = mistake(capsys, *arguments)
    assert "give another --out" in line
    return line


@pytest.mark.parametrize("alias", [None, "hard link", "symbolic link", "folder"])
def test_run_leaves_the_video_that_it_reads(
    video_checkpoint: Path, video: Path, tmp_path: Path, alias: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    before, out = video.read_bytes(), tmp_path
    if alias == "folder":
        out = tmp_path / "linked"
        out.symlink_to(tmp_path)
    elif alias is not None:
        out = tmp_path / "out"
        out.mkdir()
        place = out / "my.mp4"
        place.hardlink_to(video) if alias == "hard link" else place.symlink_to(video)
    assert "is an input" in refuse(capsys, "run", video, "--out", out, "--checkpoint", video_checkpoint)
    assert video.read_bytes() == before


def test_run_leaves_files_that_it_did_not_make_and_replaces_its_own(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "my.npy", np.zeros((20, 6), np.float32))
    arguments = ["run", tmp_path / "my.npy", "--out", tmp_path / "out", "--checkpoint", checkpoint]
    assert [command(*arguments), command(*arguments)] == [0, 0]
    (tmp_path / "out" / "my.json").write_text("my notes")
    assert "my.json exists" in refuse(capsys, *arguments)
    assert (tmp_path / "out" / "my.json").read_text() == "my notes"


def test_run_leaves_a_file_with_the_name_of_its_session(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "my.npy", np.zeros((20, 6), np.float32))
    (tmp_path / "session").write_text("mine")
    arguments = ["run", tmp_path / "my.npy", "--out", tmp_path / "out", "--checkpoint", checkpoint]
    assert "session exists" in refuse(capsys, *arguments, "--session", tmp_path / "session")
    assert (tmp_path / "session").read_text() == "mine"


@pytest.mark.parametrize("name", ["scores.json", "predictions.json"])
def test_evaluate_leaves_files_with_the_names_of_its_own(
    name: str, checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("mine")
    assert f"{name} exists" in refuse(capsys, "evaluate", "--data", data, "--out", tmp_path, "--checkpoint", checkpoint)
    assert (tmp_path / name).read_text() == "mine"


def test_generate_replaces_a_folder_as_a_unit_and_none_that_was_edited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["generate", "--num_frames", 20, "--out", tmp_path / "made", "--num_streams"]
    assert [command(*small, 3), command(*small, 1)] == [0, 0]
    assert len(list((tmp_path / "made" / "streams").iterdir())) == 1 + 4
    content = json.loads((tmp_path / "made" / "annotations.json").read_text())
    (tmp_path / "made" / "annotations.json").write_text(json.dumps(content))
    assert "made exists" in refuse(capsys, *small, 1)
    assert json.loads((tmp_path / "made" / "annotations.json").read_text()) == content


def test_extract_leaves_features_that_it_did_not_make(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.npy").write_text("mine")
    small = ["--backbone", "test_efficientnet", "--size", 32]
    assert "my.npy exists" in refuse(capsys, "extract", video, "--out", tmp_path, *small)
    assert (tmp_path / "my.npy").read_text() == "mine"


def test_import_weights_leaves_a_file_that_it_did_not_make(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {}}, tmp_path / "official.pth")
    (tmp_path / "ours.safetensors").write_text("mine")
    line = refuse(capsys, "import-weights", tmp_path / "official.pth", "--out", tmp_path / "ours.safetensors")
    assert "ours.safetensors exists" in line
    assert (tmp_path / "ours.safetensors").read_text() == "mine"
