import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mnemic_core.errors import UserError
from mnemic_vision.picture_files import read_picture, read_pictures

nibabel = pytest.importorskip("nibabel", reason="needs the extra nifti")

# Columns to the patient's right, rows to the front, slices to the head.
VOLUME = np.random.default_rng(0).integers(-1000, 3000, (10, 12, 9)).astype(np.int16)
AXIAL = torch.from_numpy(VOLUME.astype(np.float32)).permute(2, 1, 0).flip(1, 2)
SHOWN = (AXIAL - AXIAL.min()) / (AXIAL.max() - AXIAL.min())


def written(values: np.ndarray, path: Path, affine: np.ndarray | None = None, slope: float = 1) -> Path:
    image = nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine)
    image.header.set_slope_inter(slope, -5)
    nibabel.save(image, path)
    return path


def slices(path: Path) -> torch.Tensor:
    return torch.stack([picture.pixels[0] for picture in read_pictures(path)])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_slices_are_axial_from_foot_to_head_front_on_top(tmp_path: Path, name: str) -> None:
    path = written(VOLUME, tmp_path / name)
    assert_close(slices(path), SHOWN)
    assert [picture.name for picture in read_pictures(path)] == [f"{name}#{number}" for number in range(1, 10)]


@pytest.mark.parametrize("codes", ["LPS", "LAS", "PIR", "SRA", "ASL"])
def test_a_volume_stored_in_another_orientation_looks_the_same(tmp_path: Path, codes: str) -> None:
    image = nibabel.Nifti1Image(VOLUME, np.diag([0.5, 0.5, 2, 1]))
    axes = nibabel.orientations.axcodes2ornt(codes)
    turned = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), axes))
    nibabel.save(turned, tmp_path / "a.nii.gz")
    assert_close(slices(tmp_path / "a.nii.gz"), SHOWN)


@pytest.mark.parametrize("slope", [1, 2.5, -2])
def test_scaling_is_part_of_the_range(tmp_path: Path, slope: float) -> None:
    path = written(VOLUME, tmp_path / "a.nii", slope=slope)
    scaled = nibabel.load(path).get_fdata()
    unit = torch.from_numpy((scaled - scaled.min()) / np.ptp(scaled)).float()
    assert_close(slices(path), unit.permute(2, 1, 0).flip(1, 2), atol=1e-6, rtol=0)


def test_volumes_over_time_follow_each_other_each_with_its_range(tmp_path: Path) -> None:
    series = np.stack([VOLUME, VOLUME * 2], axis=3)
    assert_close(slices(written(series, tmp_path / "a.nii.gz")), torch.cat([SHOWN, SHOWN]))


def test_a_single_slice_is_a_single_picture(tmp_path: Path) -> None:
    path = written(VOLUME[..., :1], tmp_path / "a.nii.gz")
    assert read_picture(path).name == "a.nii.gz"
    flat = written(VOLUME[..., 0], tmp_path / "b.nii.gz")
    assert torch.equal(read_picture(path).pixels, read_picture(flat).pixels)


def test_colors_are_their_255th(tmp_path: Path) -> None:
    color = np.random.default_rng(0).integers(0, 256, (10, 12, 1, 3), dtype=np.uint8)
    packed = color.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    path = written(packed, tmp_path / "a.nii")
    assert_close(read_picture(path).pixels, torch.from_numpy(color[:, :, 0]).permute(2, 1, 0).flip(1, 2) / 255)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(tmp_path: Path, bad: float) -> None:
    values = VOLUME.astype(np.float32)
    values[3, 4, 5] = bad
    with pytest.raises(UserError, match=r"a\.nii: the volume contains NaN"):
        slices(written(values, tmp_path / "a.nii"))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("part", [0.01, 0.1, 0.5, 0.95])
def test_a_truncated_file_is_one_clear_line(tmp_path: Path, name: str, part: float) -> None:
    data = written(VOLUME, tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * part)])
    with pytest.raises(UserError, match=rf"image .*{name} ") as caught:
        slices(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_damaged_header_is_one_clear_line(tmp_path: Path) -> None:
    data = bytearray(written(VOLUME, tmp_path / "a.nii").read_bytes())
    data[70:72] = b"\xff\x7f"  # the type of the values
    (tmp_path / "a.nii").write_bytes(data)
    with pytest.raises(UserError, match=r"a\.nii is not a complete NIfTI file"):
        slices(tmp_path / "a.nii")


def test_what_cannot_be_shown_is_one_clear_line(tmp_path: Path) -> None:
    for values, message in (
        (np.zeros((3, 3, 3), np.uint8), "has 3x3 pixels"),
        (np.zeros((10, 10, 2, 1, 3), np.float32), "has 5 axes"),
        (np.zeros((10, 10, 2), np.complex64), "complex64 cannot be shown"),
    ):
        with pytest.raises(UserError, match=message):
            slices(written(values, tmp_path / "a.nii"))


def test_a_huge_compressed_volume_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = written(VOLUME, tmp_path / "a.nii")
    image = nibabel.load(path)
    image.header.set_data_shape((2000, 2000, 600))
    with nibabel.openers.Opener(tmp_path / "b.nii.gz", "wb") as file:
        image.header.write_to(file)
    with pytest.raises(UserError, match="holds 4,800,000,000 bytes"):
        slices(tmp_path / "b.nii.gz")


def test_without_nibabel_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(VOLUME, tmp_path / "a.nii")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(UserError, match=r"pip install 'mnemic-vision\[nifti\]'"):
        read_picture(path)
