"""Pictures of DICOM files, decoded by pydicom one frame at a time."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mnemic_core.errors import UserError
from mnemic_vision.picture_files.dicom_values import frame_values
from mnemic_vision.picture_files.picture import Picture, check_bytes, check_size
from mnemic_vision.picture_files.pixel_values import as_tensor

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

_EXTRA = "pip install 'mnemic-vision[dicom]'"
# Decoded to RGB, whatever the tag says afterwards.
_KINDS = {
    "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"
}  # fmt: skip


def read_dicom(path: Path) -> Iterator[Picture]:
    """Yield the frames of a DICOM file."""
    try:
        from pydicom import dcmread
        from pydicom.errors import BytesLengthException, InvalidDicomError
    except ImportError as error:
        raise UserError(f"{path}: DICOM files need pydicom: {_EXTRA}") from error
    try:
        check_bytes(path, path.stat().st_size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file that ends early, which is an error below
            dataset = dcmread(path)
        _check_pixels(dataset, path)
        yield from _frames(dataset, path)
    except InvalidDicomError as error:
        raise UserError(f"image {path} does not begin as a DICOM file (DICM at byte 128); replace it") from error
    except BytesLengthException as error:
        raise UserError(f"image {path} is not a complete DICOM file; replace or remove it") from error


def _frames(dataset: "FileDataset", path: Path) -> Iterator[Picture]:
    from pydicom.pixels.utils import iter_pixels

    if dataset.file_meta.TransferSyntaxUID.is_encapsulated and dataset.SamplesPerPixel > 1:
        dataset.PlanarConfiguration = 0  # the codestream says how it is stored; pydicom would believe the tag
    count = int(dataset.get("NumberOfFrames") or 1)
    index = -1
    for index, stored in enumerate(iter_pixels(dataset)):
        yield Picture.of_file(path, as_tensor(frame_values(stored, dataset, index)), index, count)
    if index + 1 != count:
        raise UserError(f"image {path} has {index + 1} of {count} frames; replace it by a complete copy")


def _check_pixels(dataset: "FileDataset", path: Path) -> None:
    """Refuse what is not a picture, too large, or stored in a way that would be shown wrongly."""
    if not {"PixelData", "FloatPixelData", "DoubleFloatPixelData"} & set(dataset.dir()):
        raise UserError(f"image {path} has no pixel data: it is cut off or not an image; replace or remove it")
    check_size(path, dataset.Columns, dataset.Rows)
    if dataset.PhotometricInterpretation not in _KINDS:
        raise UserError(f"image {path} has colors of the kind {dataset.PhotometricInterpretation}; save it as RGB")
    if "PixelData" in dataset and dataset.HighBit != dataset.BitsStored - 1:
        raise UserError(
            f"image {path} stores {dataset.BitsStored} bits with HighBit {dataset.HighBit}, expected "
            f"{dataset.BitsStored - 1}; convert it to aligned pixels"
        )
    _check_decoder(dataset, path)


def _check_decoder(dataset: "FileDataset", path: Path) -> None:
    from pydicom.pixels.decoders.base import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        is_decoded = get_decoder(syntax).is_available
    except NotImplementedError:
        is_decoded = False
    if not is_decoded:
        raise UserError(f"image {path} is compressed as {syntax.name}: {_EXTRA}, or save it uncompressed")
