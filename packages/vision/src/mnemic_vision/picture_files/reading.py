"""Reading of picture files of any format, recognized by their content."""

from collections.abc import Callable, Iterator
from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_vision.picture_files.dicom import read_dicom
from mnemic_vision.picture_files.nifti import read_nifti
from mnemic_vision.picture_files.picture import Picture, damage_named
from mnemic_vision.picture_files.still_image import read_still
from mnemic_vision.picture_files.tiff import read_tiff

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
_TIFF_SUFFIXES = (".tif", ".tiff")
_DICOM_SUFFIXES = (".dcm", ".dicom")
_DICOM_MARK = slice(128, 132)  # of the file, where it says DICM
_NIFTI_SUFFIXES = (".nii", ".nii.gz")

PICTURE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".pgm", ".ppm",
    *_TIFF_SUFFIXES, *_DICOM_SUFFIXES, *_NIFTI_SUFFIXES,
)  # fmt: skip


def read_pictures(path: str | Path) -> Iterator[Picture]:
    """Yield all pictures of a file: pages, frames or slices, one at a time.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is damaged, too large, or of a kind that cannot be shown rightly. Both while iterating.
    """
    path = Path(path)
    with damage_named(path):
        yield from _reader(path)(path)


def read_picture(path: str | Path) -> Picture:
    """Return the picture of a file that has only one.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: as `read_pictures`, or it has several.
    """
    pictures = read_pictures(path)
    picture = next(pictures)
    if picture.name != Path(path).name:
        raise UserError(f"image {path} holds several pictures; save the one you mean to a file of its own")
    return picture


def find_pictures(folder: str | Path) -> list[Path]:
    """Return the picture files below a folder, sorted; hidden files are left out.

    Files count by `PICTURE_SUFFIXES`, and DICOM files without a suffix, or with a number as one, by their mark.

    Raises:
        FileNotFoundError: there is no such folder.
        UserError: it has no picture.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"folder {folder} does not exist")
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and _is_picture(path))
    if not paths:
        raise UserError(f"{folder} contains no picture ({' '.join(PICTURE_SUFFIXES)})")
    return paths


def _is_picture(path: Path) -> bool:
    if path.name.startswith(".") or path.name == "DICOMDIR":
        return False
    suffix = path.suffix.lower()
    if path.name.lower().endswith(PICTURE_SUFFIXES):
        return True
    # Scanners name files by a number or a UID, whose last part looks like a suffix.
    return (not suffix or suffix[1:].isdigit()) and _start(path)[_DICOM_MARK] == b"DICM"


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_DICOM_MARK.stop)


def _reader(path: Path) -> Callable[[Path], Iterator[Picture]]:
    start, name = _start(path), path.name.lower()
    if not start:
        raise UserError(f"image {path} is empty (0 bytes); replace or remove it")
    if start[_DICOM_MARK] == b"DICM" or name.endswith(_DICOM_SUFFIXES):
        return read_dicom  # also those of scanned slides, which start as a TIFF
    if name.endswith(_NIFTI_SUFFIXES):
        return read_nifti
    if start.startswith(_TIFF_STARTS) or name.endswith(_TIFF_SUFFIXES):
        return read_tiff
    return read_still
