from io import BytesIO
from pathlib import Path

import pytest
import torch
from PIL import Image

from mnemic_core.errors import UserError
from mnemic_retrieval.pictures import as_tensor, picture_hash, read_picture


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    content = BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "CMYK", "I;16"])
def test_pictures_of_all_modes_become_rgb(mode: str) -> None:
    kind = "TIFF" if mode in {"CMYK", "I;16"} else "PNG"
    assert read_picture(encoded(Image.new(mode, (5, 4)), kind)).mode == "RGB"


def test_what_is_transparent_becomes_white() -> None:
    picture = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    picture.putpixel((1, 0), (255, 0, 0, 255))
    read = read_picture(encoded(picture))
    assert [read.getpixel((place, 0)) for place in range(2)] == [(255, 255, 255), (255, 0, 0)]


def test_pictures_of_cameras_are_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    assert read_picture(encoded(Image.new("RGB", (20, 10)), "JPEG", exif=exif)).size == (10, 20)


def test_16_bits_are_scaled_and_not_cut_off() -> None:
    picture = Image.new("I;16", (1, 1))
    picture.putpixel((0, 0), 32768)
    value = read_picture(encoded(picture)).getpixel((0, 0))
    assert isinstance(value, tuple)
    assert abs(value[0] - 128) <= 1


def test_a_picture_is_fitted_into_a_square() -> None:
    tensor = as_tensor(Image.new("RGB", (40, 20), (255, 0, 0)), (16, 16))
    assert tensor.shape == (3, 16, 16)
    assert torch.equal(tensor[:, 0, 0], torch.ones(3))  # white above it
    assert torch.allclose(tensor[:, 8, 8], torch.tensor([1.0, 0.0, 0.0]))


def test_the_hash_is_that_of_the_content(tmp_path: Path) -> None:
    content = encoded(Image.new("RGB", (2, 2)))
    (tmp_path / "a.png").write_bytes(content)
    assert picture_hash(tmp_path / "a.png") == picture_hash(content)


def test_wrong_pictures_are_refused(tmp_path: Path) -> None:
    whole = encoded(Image.effect_noise((64, 64), 50))
    with pytest.raises(UserError, match="known format"):
        read_picture(b"no picture")
    with pytest.raises(UserError, match="is damaged"):
        read_picture(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="64 x 64 pixels, more than 1000"):
        read_picture(whole, max_pixels=1000)
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "absent.png")
