from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from mnemic_core.errors import UserError
from mnemic_vision.picture_files import find_pictures, read_picture, read_pictures

NOISE = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.jpg", "c.tif", "d.bmp", "e.webp", "f.gif", "g.pgm"):
        Image.fromarray(NOISE).save(tmp_path / name)
    tifffile.imwrite(tmp_path / "h.tif", NOISE, compression="zlib")
    Image.fromarray(NOISE).save(tmp_path / "i.tif", compression="tiff_lzw")
    Image.fromarray(NOISE.astype(np.uint16)).save(tmp_path / "j.png")
    return tmp_path


@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
def test_a_truncated_file_of_any_kind_is_one_clear_line(folder: Path, part: float) -> None:
    for path in find_pictures(folder):
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(UserError, match=rf"image .*{path.name} ") as caught:
            list(read_pictures(path))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"II*\0", b"\xff\xd8\xff", bytes(500)])
def test_what_is_no_picture_is_one_clear_line(tmp_path: Path, data: bytes) -> None:
    for name in ("a.png", "a.tif", "a.jpg"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=name):
            read_picture(tmp_path / name)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png does not exist"):
        read_picture("nowhere.png")


def test_a_folder_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not an image"):
        read_picture(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_one_pixel_is_no_picture(tmp_path: Path, suffix: str) -> None:
    Image.new("L", (1, 1)).save(tmp_path / f"a.{suffix}")
    with pytest.raises(UserError, match=r"has 1x1 pixels; each side needs at least 8"):
        read_picture(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("side", [9000, 20000])
def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path, suffix: str, side: int) -> None:
    Image.new("1", (side, side)).save(tmp_path / f"a.{suffix}")
    with pytest.raises(UserError, match=r"too large|pixels, more than 67,108,864 are not read"):
        read_picture(tmp_path / f"a.{suffix}")


def test_the_content_counts_not_the_name(folder: Path) -> None:
    (folder / "c.tif").rename(folder / "c.png")
    (folder / "a.png").rename(folder / "a.jpg")
    assert (read_picture(folder / "c.png").pixels == read_picture(folder / "a.jpg").pixels).all()


def test_pictures_are_found_in_all_folders_in_order(tmp_path: Path) -> None:
    for name in ("b/2.PNG", "b/1.jpeg", "a.tiff", "notes.txt", "._a.png", ".hidden.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in find_pictures(tmp_path)] == [
        "a.tiff",
        "b/1.jpeg",
        "b/2.PNG",
    ]


def test_a_folder_without_pictures_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="contains no picture"):
        find_pictures(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        find_pictures(tmp_path / "nowhere")
