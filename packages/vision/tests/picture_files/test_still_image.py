import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close
from torchvision.transforms.functional import InterpolationMode, rotate

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae import prepare
from mnemic_vision.picture_files import read_picture, read_pictures
from mnemic_vision.video import read_image

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
GENERATOR = np.random.default_rng(0)


def pixels(path: Path) -> torch.Tensor:
    return read_picture(path).pixels


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_png(path: Path, values: np.ndarray, depth: int, color_type: int, transparent: bytes = b"") -> Path:
    """Write kinds of PNG that Pillow does not write; the rows of `values` are bytes as packed in the file."""
    header = struct.pack(">IIBBBBB", values.shape[1] * 8 // depth if color_type == 0 and depth < 8 else values.shape[1],
                         values.shape[0], depth, color_type, 0, 0, 0)  # fmt: skip
    rows = b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in values)
    key = chunk(b"tRNS", transparent) if transparent else b""
    body = chunk(b"IHDR", header) + key + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def test_bytes_become_their_255th(tmp_path: Path) -> None:
    color = GENERATOR.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(color).save(tmp_path / "a.png")
    assert_close(pixels(tmp_path / "a.png"), torch.from_numpy(color).permute(2, 0, 1) / 255)


def test_twelve_bits_in_sixteen_keep_all_levels(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    assert_close(pixels(tmp_path / "a.png")[0].flatten(), torch.arange(4096) / 4095, rtol=0, atol=0)


def test_a_constant_deep_picture_stays_constant_when_turned(tmp_path: Path) -> None:
    Image.fromarray(np.full((64, 64), 1000, np.uint16)).save(tmp_path / "a.png")
    turned = rotate(pixels(tmp_path / "a.png"), 30.0, InterpolationMode.BILINEAR)
    assert_close(turned[:, 16:48, 16:48] * 1023, torch.full((1, 32, 32), 1000.0))


def test_sixteen_bits_equal_their_eight_bit_form(tmp_path: Path) -> None:
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(grey * 257).save(tmp_path / "deep.png")
    Image.fromarray(grey.astype(np.uint8)).save(tmp_path / "flat.png")
    assert_close(pixels(tmp_path / "deep.png"), pixels(tmp_path / "flat.png"))


@pytest.mark.parametrize(("color_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bit_color_and_alpha_keep_all_levels(tmp_path: Path, color_type: int, channels: int) -> None:
    stored = GENERATOR.integers(0, 65536, (16, 16, channels), dtype=np.uint16)
    unit = torch.from_numpy(stored.astype(np.float64) / 65535).permute(2, 0, 1)
    alpha = unit[-1:] if channels != 3 else torch.ones(1, 16, 16)
    color = unit[:-1] if channels != 3 else unit
    read = pixels(write_png(tmp_path / "a.png", stored, 16, color_type))
    assert_close(read, (color * alpha + 1 - alpha).float(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey_value_is_white(tmp_path: Path, depth: int) -> None:
    levels = np.arange(256).reshape(16, 16) % 2**depth
    rows = levels.astype(np.uint16) if depth == 16 else np.stack(
        [np.packbits(np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - depth :]) for row in levels]
    )  # fmt: skip
    read = pixels(write_png(tmp_path / "a.png", rows, depth, 0, struct.pack(">H", 1)))
    greatest = 255 if depth == 16 else 2**depth - 1
    assert_close(read[0], torch.from_numpy(np.where(levels == 1, 1, levels / greatest)).float())


@pytest.mark.parametrize("size", [224, 256])
def test_the_background_of_an_indexed_png_is_white_at_any_size(tmp_path: Path, size: int) -> None:
    indexed = Image.fromarray(np.kron(np.arange(4).reshape(2, 2), np.ones((120, 120))).astype(np.uint8), mode="P")
    indexed.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    indexed.save(tmp_path / "a.png", transparency=3)
    square = prepare(pixels(tmp_path / "a.png"), size, 3)
    corners = square[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert_close(corners.T, torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]))


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_alpha_is_composited_on_white(tmp_path: Path, suffix: str) -> None:
    color = GENERATOR.integers(0, 256, (16, 16, 4), dtype=np.uint8)
    Image.fromarray(color).save(tmp_path / f"a.{suffix}", lossless=True, exact=True)
    unit = torch.from_numpy(color).permute(2, 0, 1) / 255
    assert_close(pixels(tmp_path / f"a.{suffix}"), unit[:3] * unit[3:] + 1 - unit[3:])


def test_grey_formats_read_alike(tmp_path: Path) -> None:
    grey = GENERATOR.integers(0, 256, (16, 16), dtype=np.uint8)
    for suffix in ("png", "bmp", "pgm", "gif"):
        Image.fromarray(grey).save(tmp_path / f"a.{suffix}")
        assert_close(prepare(pixels(tmp_path / f"a.{suffix}"), 16, 1)[0], torch.from_numpy(grey) / 255)


def test_a_sixteen_bit_pgm_keeps_all_levels(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 64 64 4095\n" + RAMP.astype(">u2").tobytes())
    assert_close(pixels(tmp_path / "a.pgm")[0].flatten(), torch.arange(4096) / 4095, rtol=0, atol=1e-5)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_the_exif_orientation_is_applied(tmp_path: Path, orientation: int, deep: bool) -> None:
    grey = np.arange(160, dtype=np.uint8).reshape(10, 16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = grey.astype(np.uint16) * 257 if deep else grey
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    read = pixels(tmp_path / "a.png")
    assert_close(read[0], torch.from_numpy(turned(grey, orientation).copy()) / 255)
    assert np.array_equal(read_image(tmp_path / "a.png")[..., 0], turned(grey, orientation))


def turned(grey: np.ndarray, orientation: int) -> np.ndarray:
    """Return what a viewer shows, by the words of the EXIF standard."""
    around = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: -1, 7: -1, 8: 1}[orientation]
    turned = np.rot90(grey, around)
    return {2: np.fliplr, 4: np.fliplr, 5: np.flipud, 7: np.flipud}.get(orientation, np.asarray)(turned)


def test_a_cmyk_photograph_looks_as_in_rgb(tmp_path: Path) -> None:
    color = np.kron(GENERATOR.integers(0, 256, (4, 4, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    Image.fromarray(color).convert("CMYK").save(tmp_path / "a.jpg", quality=100, subsampling=0)
    assert_close(pixels(tmp_path / "a.jpg"), torch.from_numpy(color).permute(2, 0, 1) / 255, atol=0.02, rtol=0)


def test_a_cmyk_photograph_of_unknown_polarity_is_refused(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (10, 20, 30, 40)).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    start = data.index(b"\xff\xee")
    length = struct.unpack(">H", data[start + 2 : start + 4])[0]
    (tmp_path / "b.jpg").write_bytes(data[:start] + data[start + 2 + length :])
    with pytest.raises(UserError, match=r"b\.jpg is a CMYK JPEG"):
        read_picture(tmp_path / "b.jpg")


def test_all_frames_of_an_animation_are_read(tmp_path: Path) -> None:
    frames = [Image.new("L", (16, 16), level) for level in (0, 102, 255)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    read = list(read_pictures(tmp_path / "a.gif"))
    assert [picture.name for picture in read] == ["a.gif#1", "a.gif#2", "a.gif#3"]
    assert_close(torch.stack([picture.pixels.mean() for picture in read]), torch.tensor([0, 0.4, 1]))


def test_a_phone_photograph_with_a_preview_is_one_picture(tmp_path: Path) -> None:
    photograph, preview = (Image.new("RGB", (16, 16), color) for color in ("red", "blue"))
    photograph.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])
    assert pixels(tmp_path / "a.jpg")[0].min() > 0.98


def test_a_deep_image_is_no_white_frame(tmp_path: Path) -> None:
    grey = np.tile(np.arange(256, dtype=np.uint16), (64, 1))
    Image.fromarray(grey * 257).save(tmp_path / "full.png")
    Image.fromarray(grey * 16 + 7000).save(tmp_path / "thermal.png")
    assert np.abs(read_image(tmp_path / "full.png")[..., 0].astype(int) - grey).max() <= 1
    assert len(np.unique(read_image(tmp_path / "thermal.png"))) > 10
