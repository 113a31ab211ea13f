from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch.testing import assert_close

from mnemic_core.errors import UserError
from mnemic_vision.picture_files import read_picture, read_pictures

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
GENERATOR = np.random.default_rng(0)


def pixels(path: Path) -> torch.Tensor:
    return read_picture(path).pixels


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzma"])
def test_a_twelve_bit_ramp_equals_that_of_a_png(tmp_path: Path, byteorder: str, compression: str | None) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", RAMP, byteorder=byteorder, compression=compression)
    assert torch.equal(pixels(tmp_path / "a.tif"), pixels(tmp_path / "a.png"))
    assert len(pixels(tmp_path / "a.tif").unique()) == 4096


def test_lzw_and_packbits_equal_uncompressed(tmp_path: Path) -> None:
    for kind in (RAMP, (RAMP // 16).astype(np.uint8), (RAMP / 4096).astype(np.float32), RAMP > 2000):
        for compression in ("raw", "tiff_lzw", "packbits"):
            Image.fromarray(kind).save(tmp_path / f"{compression}.tif", compression=compression)
        for compression in ("tiff_lzw", "packbits"):
            assert torch.equal(pixels(tmp_path / f"{compression}.tif"), pixels(tmp_path / "raw.tif"))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_min_is_white_has_the_same_polarity_at_8_and_16_bits(tmp_path: Path, kind: type, byteorder: str) -> None:
    ramp = np.arange(256).reshape(16, 16) * (np.iinfo(kind).max // 255)
    tifffile.imwrite(tmp_path / "a.tif", ramp.astype(kind), photometric="miniswhite", byteorder=byteorder)
    assert_close(pixels(tmp_path / "a.tif").flatten(), torch.arange(255, -1, -1) / 255)


def test_min_is_white_has_the_same_polarity_in_fax(tmp_path: Path) -> None:
    dark = RAMP > 2000
    Image.fromarray(dark).save(tmp_path / "a.tif", compression="group4", tiffinfo={262: 0})
    assert torch.equal(pixels(tmp_path / "a.tif")[0] > 0.5, torch.from_numpy(dark))


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_sixteen_bit_color_keeps_all_levels(tmp_path: Path, planar: str) -> None:
    color = GENERATOR.integers(0, 65536, (3, 16, 20), dtype=np.uint16)
    values = color if planar == "separate" else color.transpose(1, 2, 0)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", planarconfig=planar)
    assert_close(pixels(tmp_path / "a.tif"), torch.from_numpy(color.astype(np.float32) / 65535))


def test_every_page_is_read(tmp_path: Path) -> None:
    stack = np.stack([RAMP + shift for shift in (0, 100, 200)])
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    read = list(read_pictures(tmp_path / "a.tif"))
    assert [picture.name for picture in read] == ["a.tif#1", "a.tif#2", "a.tif#3"]
    for picture, page in zip(read, stack, strict=True):
        tifffile.imwrite(tmp_path / "page.tif", page)
        assert torch.equal(picture.pixels, pixels(tmp_path / "page.tif"))
    with pytest.raises(UserError, match=r"a\.tif holds several pictures"):
        read_picture(tmp_path / "a.tif")


def test_compressed_pages_are_in_order(tmp_path: Path) -> None:
    pages = [Image.new("L", (16, 16), level) for level in (0, 51, 255)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    assert_close(torch.tensor([picture.pixels.mean() for picture in read_pictures(tmp_path / "a.tif")]),
                 torch.tensor([0, 0.2, 1]))  # fmt: skip


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_lost_pages_are_not_passed_over(tmp_path: Path, kept: float, caplog: pytest.LogCaptureFixture) -> None:
    pages = [Image.new("L", (16, 16), level) for level in range(9)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(UserError, match=r"cut off|corrupted"):
        list(read_pictures(tmp_path / "a.tif"))
    assert not caplog.records


def test_a_stack_of_imagej_in_one_page_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RAMP, description="ImageJ=1.53\nimages=7\nslices=7\n", metadata=None)
    with pytest.raises(UserError, match="ImageJ stack of 7"):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_that_of_exif(tmp_path: Path, orientation: int) -> None:
    grey = np.arange(160, dtype=np.uint8).reshape(10, 16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(grey).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(grey).save(tmp_path / "a.tif", tiffinfo={274: orientation})
    Image.fromarray(grey).save(tmp_path / "b.tif", tiffinfo={274: orientation}, compression="tiff_lzw")
    assert torch.equal(pixels(tmp_path / "a.tif"), pixels(tmp_path / "a.png"))
    assert torch.equal(pixels(tmp_path / "b.tif"), pixels(tmp_path / "a.png"))


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
def test_floats_in_the_unit_range_stay_and_others_are_stretched(tmp_path: Path, kind: type) -> None:
    unit = (np.arange(256).reshape(16, 16) / 256).astype(kind)
    tifffile.imwrite(tmp_path / "unit.tif", unit)
    tifffile.imwrite(tmp_path / "wide.tif", unit * 512 - 100)
    assert_close(pixels(tmp_path / "unit.tif")[0], torch.from_numpy(unit).float())
    assert_close(pixels(tmp_path / "wide.tif").flatten(), torch.arange(256) / 255)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(tmp_path: Path, bad: float) -> None:
    values = np.zeros((16, 16), np.float32)
    values[3, 5] = bad
    tifffile.imwrite(tmp_path / "a.tif", values)
    with pytest.raises(UserError, match=r"a\.tif: the pixels contain NaN or infinity"):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("kind", "bits"), [(np.int16, 12), (np.uint16, 14), (np.uint32, 16), (np.uint32, 32), (np.uint64, 64)]
)
def test_integers_are_divided_by_the_depth_that_holds_them(tmp_path: Path, kind: type, bits: int) -> None:
    greatest = 2**bits - 1
    tifffile.imwrite(tmp_path / "a.tif", np.array([0, greatest // 3, greatest] * 48, kind).reshape(12, 12))
    assert_close(pixels(tmp_path / "a.tif").unique(), torch.tensor([0, 1 / 3, 1]), atol=1e-4, rtol=0)


def test_negative_values_are_stretched_not_clipped(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", (RAMP.astype(np.int16) - 1000))
    assert_close(pixels(tmp_path / "a.tif").flatten(), torch.arange(4096) / 4095)


@pytest.mark.parametrize("alpha", ["unassalpha", "assocalpha"])
def test_alpha_is_composited_on_white(tmp_path: Path, alpha: str) -> None:
    color = GENERATOR.integers(0, 128, (16, 16, 4), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", color, photometric="rgb", extrasamples=[alpha])
    unit = torch.from_numpy(color).permute(2, 0, 1) / 255
    part = unit[:3] * unit[3:] if alpha == "unassalpha" else unit[:3]
    assert_close(pixels(tmp_path / "a.tif"), (part + 1 - unit[3:]).clamp(0, 1))


def test_channels_of_unknown_meaning_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((16, 16, 5), np.uint8), photometric="minisblack", planarconfig="contig"
    )
    with pytest.raises(UserError, match="5 channels"):
        read_picture(tmp_path / "a.tif")


def test_palette_and_cmyk_equal_their_rgb(tmp_path: Path) -> None:
    color = Image.fromarray(np.kron(GENERATOR.integers(0, 256, (4, 4, 3)), np.ones((9, 9, 1))).astype(np.uint8))
    for name, image in (("palette", color.quantize(16)), ("cmyk", color.convert("CMYK"))):
        image.save(tmp_path / f"{name}.tif")
        assert_close(pixels(tmp_path / f"{name}.tif"), torch.from_numpy(np.array(color)).permute(2, 0, 1) / 255,
                     atol=0.01, rtol=0)  # fmt: skip


def test_a_photograph_in_a_tiff_is_rgb(tmp_path: Path) -> None:
    color = Image.new("RGB", (32, 32), (250, 100, 20))
    color.save(tmp_path / "a.tif", compression="jpeg")
    assert_close(pixels(tmp_path / "a.tif")[:, 8, 8] * 255, torch.tensor([250.0, 100, 20]), atol=3, rtol=0)


def test_reduced_copies_are_left_out(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(RAMP)
        writer.write(RAMP[::2, ::2], subfiletype=1)
    assert read_picture(tmp_path / "a.tif").pixels.shape == (1, 64, 64)
