import csv
from pathlib import Path

import pytest

from mnemic_anomaly.commands.run import run
from mnemic_core.errors import UserError


def test_a_folder_becomes_a_table_pictures_and_a_page(images: Path, checkpoint: Path, tmp_path: Path) -> None:
    run(images / "test", out=tmp_path / "out", checkpoint=checkpoint, device="cpu")
    with (tmp_path / "out" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    scores = [float(row["score"]) for row in rows]
    assert len(rows) == 6
    assert scores == sorted(scores, reverse=True)
    assert all((tmp_path / "out" / "overlays" / f"{row['image']}.png").exists() for row in rows)
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("<article") == 6
    assert "http" not in page  # no network


def test_images_unlike_those_of_the_training_are_warned_of(
    images: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(images / "test", out=tmp_path / "out", checkpoint=checkpoint, device="cpu")
    assert "warning: these images do not resemble the training images" in capsys.readouterr().out


def test_a_damaged_image_is_listed_after_the_others(
    images: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "test" / "good" / "half.png").write_bytes(b"\x89PNG")
    with pytest.raises(SystemExit, match="2"):
        run(images / "test", out=tmp_path / "out", checkpoint=checkpoint, device="cpu")
    said = capsys.readouterr()
    assert "left out: image" in said.err
    assert said.err.count("\n") == 1
    assert "6 images" in said.out


def test_a_single_damaged_image_is_the_error(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "half.png").write_bytes(b"\x89PNG")
    with pytest.raises(UserError, match=r"half\.png"):
        run(tmp_path / "half.png", out=tmp_path / "out", checkpoint=checkpoint, device="cpu")
