"""No command writes over one of its inputs, or over a file that it did not make."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mnemic_track import cli
from mnemic_vision.memotr.data import GeneratedSequences
from mnemic_vision.video import VideoWriter


@pytest.fixture
def video(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    with VideoWriter(tmp_path / "my.mp4", (96, 64), 10.0) as writer:
        for _ in range(2):
            writer.write(rng.integers(0, 255, (64, 96, 3), dtype=np.uint8))
    return tmp_path / "my.mp4"


def run(*arguments: object) -> None:
    with pytest.raises(SystemExit) as exit_request:
        cli.main([*map(str, arguments)])
    assert exit_request.value.code == 0


def refuse(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as exit_request:
        cli.main([*map(str, arguments)])
    assert exit_request.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "give another --out" in message
    return message


@pytest.mark.parametrize("alias", [None, "hard link", "symbolic link", "folder"])
def test_run_leaves_the_video_that_it_reads(
    checkpoint: Path,
    video: Path,
    tmp_path: Path,
    alias: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before, out, source = video.read_bytes(), tmp_path, Path("my.mp4")
    monkeypatch.chdir(tmp_path)
    if alias == "folder":
        out = tmp_path / "linked"
        out.symlink_to(tmp_path)
    elif alias is not None:
        out, source = tmp_path / "out", Path("my.mp4")
        out.mkdir()
        place = out / "my.mp4"
        place.hardlink_to(video) if alias == "hard link" else place.symlink_to(video)
    assert "is an input" in refuse(capsys, "run", source, "--out", out, "--checkpoint", checkpoint)
    assert video.read_bytes() == before


def test_run_leaves_files_that_it_did_not_make_and_replaces_its_own(
    checkpoint: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        run("run", video, "--out", out, "--checkpoint", checkpoint)
    (out / "my.txt").write_text("my notes")
    made = (out / "my.mp4").read_bytes()
    assert "my.txt exists" in refuse(capsys, "run", video, "--out", out, "--checkpoint", checkpoint)
    assert (out / "my.txt").read_text() == "my notes"
    assert (out / "my.mp4").read_bytes() == made
    assert "is an input" in refuse(capsys, "run", out / "my.mp4", "--out", out, "--checkpoint", checkpoint)


def test_evaluate_leaves_a_file_with_the_name_of_its_scores(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    GeneratedSequences(seed=5, num_sequences=1, num_frames=2, size=(64, 96)).write_mot_layout(tmp_path / "data")
    (tmp_path / "scores.json").write_text("mine")
    message = refuse(capsys, "evaluate", "--data", tmp_path / "data", "--out", tmp_path, "--checkpoint", checkpoint)
    assert "scores.json exists" in message
    assert (tmp_path / "scores.json").read_text() == "mine"


def test_generate_leaves_folders_that_it_did_not_make(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--num_sequences", 1, "--num_frames", 1, "--size", 64, 96, "--out"]
    for _ in range(2):
        run("generate", *small, tmp_path / "made")
    name = next(path.name for path in (tmp_path / "made").iterdir() if path.is_dir())
    (tmp_path / "mine" / name).mkdir(parents=True)
    assert "mine exists" in refuse(capsys, "generate", *small, tmp_path / "mine")
    assert list((tmp_path / "mine" / name).iterdir()) == []


def test_generate_replaces_a_folder_as_a_unit_and_none_that_was_edited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["generate", "--size", 64, 96, "--out", tmp_path / "made"]
    for number in (2, 1):
        run(*small, "--num_frames", number, "--num_sequences", number)
    (sequence,) = (tmp_path / "made").iterdir()  # none of the earlier ones
    assert [path.name for path in (sequence / "img1").iterdir()] == ["000001.jpg"]
    (sequence / "gt" / "gt.txt").write_text("labeled by hand")
    assert "made exists" in refuse(capsys, *small)
    assert (sequence / "gt" / "gt.txt").read_text() == "labeled by hand"


def test_demo_leaves_a_file_with_the_name_of_its_video(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--num_frames", 1, "--size", 64, 96, "--checkpoint", checkpoint, "--out"]
    run("demo", *small, tmp_path / "first")
    name = next((tmp_path / "first").glob("*.mp4")).name
    (tmp_path / name).write_text("mine")
    assert f"{name} exists" in refuse(capsys, "demo", *small, tmp_path)
    assert (tmp_path / name).read_text() == "mine"


def test_import_weights_leaves_a_file_that_it_did_not_make(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": {}}, tmp_path / "official.pth")
    (tmp_path / "ours.safetensors").write_text("mine")
    message = refuse(capsys, "import-weights", tmp_path / "official.pth", "--out", tmp_path / "ours.safetensors")
    assert "ours.safetensors exists" in message
    assert (tmp_path / "ours.safetensors").read_text() == "mine"
