import io
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from mnemic_core.errors import UserError
from mnemic_vision.picture_files import find_pictures, read_picture, read_pictures

pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
from pydicom import uid  # noqa: E402
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.sequence import Sequence  # noqa: E402

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
UNIT = torch.arange(4096).reshape(1, 64, 64) / 4095
COLOR = np.kron(np.random.default_rng(0).integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
HOUNSFIELD = np.array([-160, 40, 240, -2000, 2000, 39, 41, 100], np.int16).repeat(8).reshape(8, 8)


def data_set(values: np.ndarray, bits: int, **tags: Any) -> Dataset:
    """Return an uncompressed picture; keywords are DICOM's, which replace the tags that follow from the values."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = uid.SecondaryCaptureImageStorage, uid.generate_uid()
    is_color = values.shape[-1] == 3
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = (3, "RGB") if is_color else (1, "MONOCHROME2")
    dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = values.shape[-3:-1] if is_color else values.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = values.dtype.itemsize * 8, bits, bits - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OW"
    for name, value in tags.items():
        setattr(dataset, name, value)
    return dataset


def written(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def pixels(dataset: Dataset, folder: Path) -> torch.Tensor:
    return read_picture(written(dataset, folder / "a.dcm")).pixels


def item(**tags: Any) -> Sequence:
    dataset = Dataset()
    for name, value in tags.items():
        setattr(dataset, name, value)
    return Sequence([dataset])


def jpeg_ls(values: np.ndarray) -> bytes:
    encoder = av.CodecContext.create("jpegls", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = *values.shape[::-1], "gray16le", Fraction(1)
    frame = av.VideoFrame.from_ndarray(values, format="gray16le")
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def jpeg(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG", quality=98, subsampling=0)
    return file.getvalue()


def compressed(values: np.ndarray, bits: int, syntax: str, *frames: bytes, **tags: Any) -> Dataset:
    dataset = data_set(values, bits, **tags)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate(list(frames))
    dataset["PixelData"].VR = "OB"
    return dataset


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shape", ["IDENTITY", "INVERSE"])
def test_monochrome1_is_inverted_exactly_once(tmp_path: Path, kind: str, shape: str) -> None:
    read = pixels(data_set(RAMP, 12, PhotometricInterpretation=kind, PresentationLUTShape=shape), tmp_path)
    assert torch.equal(read, 1 - UNIT if kind == "MONOCHROME1" else UNIT)


def test_frames_of_an_enhanced_file_have_their_own_rescale_and_window(tmp_path: Path) -> None:
    stored = np.stack([np.linspace(0, 4000, 4096).astype(np.uint16).reshape(64, 64)] * 2)
    frames = [Dataset(), Dataset()]
    for frame, slope in zip(frames, (1, 2), strict=True):
        frame.PixelValueTransformationSequence = item(RescaleSlope=slope, RescaleIntercept=-1000)
    shared = item(FrameVOILUTSequence=item(WindowCenter=3000, WindowWidth=8000, VOILUTFunction="LINEAR_EXACT"))
    dataset = data_set(stored, 12, NumberOfFrames=2, SharedFunctionalGroupsSequence=shared)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    first, second = (picture.pixels for picture in read_pictures(written(dataset, tmp_path / "a.dcm")))
    hounsfield = torch.stack([first, second]) * 8000 - 1000
    assert_close(hounsfield.amin((1, 2, 3)), torch.tensor([-1000.0, -1000.0]))
    assert_close(hounsfield.amax((1, 2, 3)), torch.tensor([3000.0, 7000.0]))


@pytest.mark.parametrize(("function", "at_center"), [("", 0.50125), ("LINEAR", 0.50125), ("LINEAR_EXACT", 0.5)])
def test_a_window_is_that_of_the_standard(tmp_path: Path, function: str, at_center: float) -> None:
    tags = {"RescaleIntercept": -1024, "RescaleSlope": 1, "WindowCenter": [40, 600], "WindowWidth": [400, 9]}
    stored = (HOUNSFIELD + 2000).astype(np.uint16)
    dataset = data_set(stored, 12, VOILUTFunction=function, **(tags | {"RescaleIntercept": -2000}))
    read = pixels(dataset, tmp_path)[0, :, 0]
    assert_close(read[:5], torch.tensor([0, at_center, 1, 0, 1]), atol=1e-5, rtol=0)


def test_a_sigmoid_window_is_that_of_the_standard(tmp_path: Path) -> None:
    tags = {"WindowCenter": 40, "WindowWidth": 400, "VOILUTFunction": "SIGMOID"}
    read = pixels(data_set(HOUNSFIELD, 16, **tags), tmp_path)[0]
    assert_close(read, torch.sigmoid(4 * (torch.from_numpy(HOUNSFIELD).float() - 40) / 400))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_equal_those_of_pydicom(tmp_path: Path, function: str) -> None:
    tags = {"WindowCenter": 1500.5, "WindowWidth": 77, "VOILUTFunction": function}
    dataset = data_set(RAMP, 12, RescaleSlope=1, RescaleIntercept=0, **tags)
    expected = pydicom.pixels.apply_windowing(RAMP, dataset) / 4095
    assert_close(pixels(dataset, tmp_path)[0], torch.from_numpy(expected).float(), atol=1e-5, rtol=0)


def test_a_window_of_width_1_is_a_step(tmp_path: Path) -> None:
    read = pixels(data_set(RAMP, 12, WindowCenter=100, WindowWidth=1), tmp_path)
    assert torch.equal(read.flatten(), (torch.arange(4096) > 99.5).float())


def test_a_window_of_no_width_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.dcm: a LINEAR window of center 100\.0 and width 0\.0"):
        pixels(data_set(RAMP, 12, WindowCenter=100, WindowWidth=0), tmp_path)


def test_without_a_window_the_range_of_the_frame_is_shown(tmp_path: Path) -> None:
    read = pixels(data_set(HOUNSFIELD, 16, RescaleSlope=2, RescaleIntercept=-7, WindowCenter=None), tmp_path)
    assert_close(read[0], (torch.from_numpy(HOUNSFIELD).float() + 2000) / 4000)


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("limit", [None, -1990])
def test_padding_is_black_and_not_part_of_the_range(tmp_path: Path, kind: str, limit: int | None) -> None:
    dataset = data_set(HOUNSFIELD, 16, PixelPaddingValue=-2000, PhotometricInterpretation=kind)
    if limit is not None:
        dataset.PixelPaddingRangeLimit = limit
    unit = (torch.from_numpy(HOUNSFIELD).float() + 160) / 2160
    shown = (1 - unit if kind == "MONOCHROME1" else unit).where(torch.from_numpy(HOUNSFIELD != -2000), 0.0)
    assert_close(pixels(dataset, tmp_path)[0], shown)


def test_overlays_in_unused_bits_are_masked(tmp_path: Path) -> None:
    assert torch.equal(pixels(data_set(RAMP | 0x8000, 12), tmp_path), UNIT)


SIGNED = (RAMP.astype(np.int16) - 2048) & 0xFFF


@pytest.mark.parametrize("stored", [SIGNED, SIGNED - ((SIGNED & 0x800) << 1)])
def test_twelve_signed_bits_are_negative_with_and_without_extended_sign(tmp_path: Path, stored: np.ndarray) -> None:
    assert torch.equal(pixels(data_set(stored, 12), tmp_path), UNIT)


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEG2000Lossless])
def test_signed_compressed_files_equal_the_uncompressed(tmp_path: Path, syntax: str) -> None:
    dataset = data_set(RAMP.astype(np.int16) - 2048, 12)
    dataset.compress(syntax)
    assert torch.equal(pixels(dataset, tmp_path), UNIT)


def test_signed_jpeg_ls_has_negative_values(tmp_path: Path) -> None:
    dataset = compressed(SIGNED, 12, uid.JPEGLSLossless, jpeg_ls(SIGNED.astype(np.uint16)))
    assert torch.equal(pixels(dataset, tmp_path), UNIT)


def test_bits_that_are_not_aligned_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="12 bits with HighBit 15, expected 11"):
        pixels(data_set(RAMP << 4, 12, HighBit=15), tmp_path)


@pytest.mark.filterwarnings("ignore:The .0028,0004. 'Photometric Interpretation' value is 'RGB'")
@pytest.mark.parametrize("kind", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("planar", [0, 1])
def test_a_color_photograph_is_rgb_whatever_the_tags_say(tmp_path: Path, kind: str, planar: int) -> None:
    tags = {"PhotometricInterpretation": kind, "PlanarConfiguration": planar}
    dataset = compressed(COLOR, 8, uid.JPEGBaseline8Bit, jpeg(COLOR), **tags)
    read = pixels(dataset, tmp_path)
    assert_close(read, torch.from_numpy(COLOR).permute(2, 0, 1) / 255, atol=0.02, rtol=0)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless, uid.JPEG2000Lossless])
@pytest.mark.parametrize("planar", [0, 1])
def test_color_is_exact_without_loss(tmp_path: Path, syntax: str, planar: int) -> None:
    dataset = data_set(COLOR, 8)
    if syntax != uid.ExplicitVRLittleEndian:
        dataset.compress(syntax)  # of interleaved pixels: pydicom compresses planes wrongly
    elif planar:
        dataset.PixelData = COLOR.transpose(2, 0, 1).tobytes()
    dataset.PlanarConfiguration = planar
    assert_close(pixels(dataset, tmp_path), torch.from_numpy(COLOR).permute(2, 0, 1) / 255)


def test_a_palette_is_applied(tmp_path: Path) -> None:
    palette = np.random.default_rng(0).integers(0, 65536, (3, 256), dtype=np.uint16)
    dataset = data_set(COLOR[..., 0], 8, PhotometricInterpretation="PALETTE COLOR")
    for name, table in zip(("Red", "Green", "Blue"), palette, strict=True):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{name}PaletteColorLookupTableData", table.tobytes())
    assert_close(pixels(dataset, tmp_path), torch.from_numpy(palette[:, COLOR[..., 0]] / 65535).float())


def test_lookup_tables_replace_rescale_and_window(tmp_path: Path) -> None:
    modality = item(LUTDescriptor=[4096, 0, 16], LUTData=(RAMP // 2).tobytes())
    voi = item(LUTDescriptor=[2048, 0, 12], LUTData=(4095 - RAMP[:32] * 2).tobytes())
    read = pixels(data_set(RAMP, 12, ModalityLUTSequence=modality, VOILUTSequence=voi), tmp_path)
    assert_close(read.flatten(), 1 - 2 * (torch.arange(4096) // 2) / 4095)


def test_every_frame_is_read(tmp_path: Path) -> None:
    stack = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]])
    dataset = data_set(stack, 12, NumberOfFrames=3)
    dataset.compress(uid.RLELossless)
    read = list(read_pictures(written(dataset, tmp_path / "a.dcm")))
    assert [picture.name for picture in read] == ["a.dcm#1", "a.dcm#2", "a.dcm#3"]
    assert torch.equal(torch.stack([picture.pixels for picture in read])[:, 0] * 4095, torch.from_numpy(stack).float())


def test_float_pixels_are_stretched_unless_nan(tmp_path: Path) -> None:
    values = RAMP.astype(np.float32) / 7 - 3
    dataset = data_set(values, 32)
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    dataset.FloatPixelData = values.tobytes()
    assert_close(pixels(dataset, tmp_path), UNIT)
    values[5, 5] = np.nan
    dataset.FloatPixelData = values.tobytes()
    with pytest.raises(UserError, match=r"a\.dcm: the pixels contain NaN"):
        pixels(dataset, tmp_path)


@pytest.mark.parametrize("part", [0.01, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_one_clear_line(tmp_path: Path, part: float) -> None:
    plain, packed, lossy = data_set(RAMP, 12), data_set(RAMP, 12), data_set(COLOR, 8)
    packed.compress(uid.JPEG2000Lossless)
    lossy = compressed(COLOR, 8, uid.JPEGBaseline8Bit, jpeg(COLOR), PhotometricInterpretation="YBR_FULL")
    coded = compressed(RAMP, 12, uid.JPEGLSLossless, jpeg_ls(RAMP))
    for dataset in (plain, packed, lossy, coded):
        data = written(dataset, tmp_path / "a.dcm").read_bytes()
        (tmp_path / "a.dcm").write_bytes(data[: int(len(data) * part)])
        with pytest.raises(UserError, match=r"image .*a\.dcm ") as caught:
            read_picture(tmp_path / "a.dcm")
        assert "\n" not in str(caught.value)


def test_lost_frames_are_one_clear_line(tmp_path: Path) -> None:
    dataset = compressed(RAMP, 12, uid.JPEGLSLossless, jpeg_ls(RAMP), jpeg_ls(RAMP), NumberOfFrames=3)
    with pytest.raises(UserError, match=r"a\.dcm"):
        list(read_pictures(written(dataset, tmp_path / "a.dcm")))


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"Rows": 1, "Columns": 1}, "has 1x1 pixels"),
        ({"Rows": 60000, "Columns": 60000}, "more than 67,108,864 are not read"),
        ({"PhotometricInterpretation": "YBR_PARTIAL_420"}, "colors of the kind YBR_PARTIAL_420"),
    ],
)
def test_useless_files_are_one_clear_line(tmp_path: Path, tags: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        pixels(data_set(RAMP, 12, **tags), tmp_path)


def test_a_file_without_the_mark_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"hello" * 100)
    with pytest.raises(UserError, match=r"a\.dcm does not begin as a DICOM file"):
        read_picture(tmp_path / "a.dcm")


def test_reports_and_videos_are_one_clear_line(tmp_path: Path) -> None:
    report = data_set(RAMP, 12)
    del report.PixelData
    with pytest.raises(UserError, match="has no pixel data"):
        pixels(report, tmp_path)
    with pytest.raises(UserError, match=r"is compressed as MPEG-4.*pip install 'mnemic-vision\[dicom\]'"):
        pixels(compressed(RAMP, 12, uid.MPEG4HP41, b"film"), tmp_path)


def test_files_without_a_suffix_are_found_by_their_mark(tmp_path: Path) -> None:
    for name in ("IM0001", "1.2.840.113619.2", "a.dcm", "DICOMDIR"):
        written(data_set(RAMP, 12), tmp_path / name)
    (tmp_path / "README").write_text("no picture" * 100)
    found = find_pictures(tmp_path)
    assert [path.name for path in found] == ["1.2.840.113619.2", "IM0001", "a.dcm"]
    assert all(torch.equal(read_picture(path).pixels, UNIT) for path in found)


def test_without_pydicom_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(data_set(RAMP, 12), tmp_path / "a.dcm")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UserError, match=r"pip install 'mnemic-vision\[dicom\]'"):
        read_picture(path)
