"""From the stored values of a DICOM frame to [0, 1], in the order of the standard (PS3.3 C.11, PS3.4 N.2).

Sign and mask by the stored bits, rescale, padding, window, inversion of MONOCHROME1.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32, Integer, Shaped

from mnemic_core.errors import UserError
from mnemic_vision.picture_files.pixel_values import stretched

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def frame_values(
    stored: Shaped[np.ndarray, "height width *sample"], dataset: "Dataset", index: int
) -> Float32[np.ndarray, "height width channel"]:
    """Return a decoded frame (from 0) as shown: grey with black background, or RGB."""
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        return _palette_colors(_signed(stored, dataset), dataset)
    if dataset.SamplesPerPixel > 1:
        return stored.astype(np.float32) / np.float32(2**dataset.BitsStored - 1)
    values = _signed(stored, dataset)
    padding = _padding(values, dataset)
    shown = _windowed(_rescaled(values, dataset, index), padding, dataset, index)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = np.float32(1) - shown
    shown[padding] = 0
    return shown[..., None]


def window(
    values: Float32[np.ndarray, "*axes"], center: float, width: float, function: str = "LINEAR"
) -> Float32[np.ndarray, "*axes"]:
    """Return rescaled values through a window, in [0, 1] (PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Args:
        values: after rescaling.
        center: of the window.
        width: of the window; LINEAR needs 1 or more, the others more than 0.
        function: LINEAR, LINEAR_EXACT or SIGMOID.

    Raises:
        UserError: another function or a useless width.
    """
    if not (width >= 1 if function == "LINEAR" else width > 0) or not np.isfinite([center, width]).all():
        raise UserError(f"a {function} window of center {center} and width {width} cannot be shown; correct the tags")
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(-4 * (values - center) / width)), dtype=np.float32)
    if function == "LINEAR_EXACT":
        return stretched(values, center - width / 2, center + width / 2)
    if function != "LINEAR":
        raise UserError(f"the window function {function} is unknown; expected LINEAR, LINEAR_EXACT or SIGMOID")
    if width == 1:
        return (values > center - 0.5).astype(np.float32)
    return stretched(values, center - width / 2, center + width / 2 - 1)


def _signed(stored: Shaped[np.ndarray, "height width"], dataset: "Dataset") -> Shaped[np.ndarray, "height width"]:
    """Return stored values without overlays in the unused bits, and negative where the highest stored bit says so."""
    if stored.dtype.kind == "f":
        if not np.isfinite(stored).all():
            raise UserError("the pixels contain NaN or infinity: replace them, or save the picture again")
        return stored
    return _sign_extended(stored, dataset.BitsStored, bool(dataset.PixelRepresentation))


def _sign_extended(values: Integer[np.ndarray, "*axes"], bits: int, is_signed: bool) -> Integer[np.ndarray, "*axes"]:
    masked = values.astype(np.int32 if bits < 31 else np.int64) & (2**bits - 1)
    return np.asarray(masked - ((masked >> (bits - 1)) << bits)) if is_signed else masked


def _padding(values: Shaped[np.ndarray, "height width"], dataset: "Dataset") -> Bool[np.ndarray, "height width"]:
    """Return True outside of the picture, where the scanner or detector saw nothing."""
    if values.dtype.kind == "f" or dataset.get("PixelPaddingValue") is None:
        return np.zeros(values.shape, bool)
    limits = [dataset.PixelPaddingValue, dataset.get("PixelPaddingRangeLimit", dataset.PixelPaddingValue)]
    low, high = sorted(_sign_extended(np.array(limits), dataset.BitsStored, bool(dataset.PixelRepresentation)))
    return np.asarray((values >= low) & (values <= high))


def _rescaled(
    values: Shaped[np.ndarray, "height width"], dataset: "Dataset", index: int
) -> Float32[np.ndarray, "height width"]:
    """Return values in units of the modality, such as Hounsfield."""
    if dataset.get("ModalityLUTSequence"):
        from pydicom.pixels.processing import apply_modality_lut

        return apply_modality_lut(values, dataset).astype(np.float32)
    group = _group(dataset, index, "PixelValueTransformationSequence")
    slope, intercept = _number(group.get("RescaleSlope")), _number(group.get("RescaleIntercept"))
    scaled = values.astype(np.float32) * np.float32(1 if slope is None else slope)
    return np.asarray(scaled + np.float32(intercept or 0))


def _windowed(
    values: Float32[np.ndarray, "height width"],
    padding: Bool[np.ndarray, "height width"],
    dataset: "Dataset",
    index: int,
) -> Float32[np.ndarray, "height width"]:
    """Return values in [0, 1] by the table or first window of the frame, or by its range."""
    if dataset.get("VOILUTSequence"):
        return _through_table(values, dataset)
    group = _group(dataset, index, "FrameVOILUTSequence")
    center, width = _number(group.get("WindowCenter")), _number(group.get("WindowWidth"))
    if center is not None and width is not None:
        return window(values, center, width, group.get("VOILUTFunction") or "LINEAR")
    seen = values[~padding]
    return stretched(values, float(seen.min()), float(seen.max())) if seen.size else np.zeros_like(values)


def _through_table(
    values: Float32[np.ndarray, "height width"], dataset: "Dataset"
) -> Float32[np.ndarray, "height width"]:
    from pydicom.pixels.processing import apply_voi

    shown = apply_voi(np.rint(values).astype(np.int32), dataset)
    greatest = 2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    return np.asarray((shown / greatest).clip(0, 1), dtype=np.float32)


def _palette_colors(
    values: Shaped[np.ndarray, "height width"], dataset: "Dataset"
) -> Float32[np.ndarray, "height width 3"]:
    from pydicom.pixels.processing import apply_color_lut

    greatest = 2 ** dataset.RedPaletteColorLookupTableDescriptor[2] - 1
    colors = apply_color_lut(values, dataset)[..., :3]
    return np.asarray((colors / greatest).clip(0, 1), dtype=np.float32)


def _group(dataset: "Dataset", index: int, name: str) -> "Dataset":
    """Return where the tags of a frame are: its own group, the shared one, or the data set itself."""
    frames = dataset.get("PerFrameFunctionalGroupsSequence")
    shared = dataset.get("SharedFunctionalGroupsSequence")
    for groups in ([frames[index]] if frames else []) + ([shared[0]] if shared else []):
        if groups.get(name):
            found: Dataset = groups[name][0]
            return found
    return dataset


def _number(value: Any) -> float | None:
    """Return the first number of a tag, None if it is empty."""
    first = value[0] if isinstance(value, Sequence) and not isinstance(value, str) and value else value
    return None if first is None or first == "" else float(first)
