"""Axial slices of NIfTI volumes, read by nibabel."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Shaped

from mnemic_core.errors import UserError
from mnemic_vision.picture_files.picture import Picture, check_bytes, check_size
from mnemic_vision.picture_files.pixel_values import as_tensor, stretched

if TYPE_CHECKING:
    from nibabel.arrayproxy import ArrayProxy
    from nibabel.nifti1 import Nifti1Image

_SHOWN = ("P", "L", "S")  # rows to the back, columns to the patient's left, slices to the head


def read_nifti(path: Path) -> Iterator[Picture]:
    """Yield the axial slices from foot to head, of one volume after the other.

    They lie as radiologists look at them, front on top and the patient's right on the left. Black and white are the
    least and the greatest value of the volume. An uncompressed file is read slice by slice,
    a compressed one as a whole.
    """
    image, proxy = _open(path)
    volumes = _volumes(image, proxy, path)
    height, width, levels, count = volumes.shape
    check_size(path, width, height)
    for number in range(count):
        limits = _range(volumes[..., number])
        for level in range(levels):
            values = _unit_values(volumes[:, :, level, number], limits, is_negative=proxy.slope < 0)
            yield Picture.of_file(path, as_tensor(values), number * levels + level, count * levels)


def _open(path: Path) -> tuple["Nifti1Image", "ArrayProxy"]:
    """Return the header and its stored values, which are not read yet."""
    try:
        import nibabel
        from nibabel.arrayproxy import ArrayProxy
        from nibabel.filebasedimages import ImageFileError
        from nibabel.spatialimages import HeaderDataError
    except ImportError as error:
        raise UserError(f"{path}: NIfTI files need nibabel: pip install 'mnemic-vision[nifti]'") from error
    try:
        image = nibabel.load(path)
    except (ImageFileError, HeaderDataError) as error:
        raise UserError(f"image {path} is not a complete NIfTI file; replace or remove it ({error})") from error
    if not isinstance(image, nibabel.Nifti1Image) or not isinstance(image.dataobj, ArrayProxy):
        raise UserError(f"image {path} is not a NIfTI file; save it as one")
    return image, image.dataobj


def _volumes(image: "Nifti1Image", proxy: "ArrayProxy", path: Path) -> Shaped[np.ndarray, "row column level time"]:
    """Return the stored values, turned as they are shown."""
    from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

    if any(length != 1 for length in image.shape[4:]):
        raise UserError(f"image {path} has {len(image.shape)} axes {image.shape}, expected 3 or 4; save volumes")
    if path.suffix.lower() == ".gz":
        check_bytes(path, int(np.prod(image.shape)) * proxy.dtype.itemsize)
    orientation = io_orientation(image.affine)
    if np.isnan(orientation).any():
        raise UserError(f"image {path} does not say how its axes lie in the patient; correct its affine matrix")
    stored = proxy.get_unscaled()
    stored = stored.reshape(image.shape[:4], order="A")[(...,) + (None,) * (4 - stored.ndim)]
    return np.asanyarray(apply_orientation(stored, ornt_transform(orientation, axcodes2ornt(_SHOWN))))


def _range(volume: Shaped[np.ndarray, "row column level"]) -> tuple[float, float]:
    """Return the least and the greatest value of a volume, that of bytes for colors."""
    if volume.dtype.names:
        return 0.0, 255.0
    if volume.dtype.kind not in "iuf":
        raise UserError(f"values of the kind {volume.dtype} cannot be shown; save integers or floats")
    limits = volume.min(), volume.max()
    if not np.isfinite(limits).all():
        raise UserError("the volume contains NaN or infinity: replace them, or save it again")
    return float(limits[0]), float(limits[1])


def _unit_values(
    values: Shaped[np.ndarray, "height width"], limits: tuple[float, float], is_negative: bool
) -> Float32[np.ndarray, "height width channel"]:
    """Return a stored slice in [0, 1]; slope and intercept cancel in the range, but for the sign of the slope."""
    if values.dtype.names:
        return stretched(np.stack([values[name] for name in "RGB"], axis=-1), *limits)
    shown = stretched(values, *limits)[..., None]
    return np.float32(1) - shown if is_negative else shown
