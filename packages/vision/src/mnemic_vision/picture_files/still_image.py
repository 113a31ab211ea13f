"""Pictures of PNG, JPEG, BMP, WebP, GIF and PPM files, read by Pillow."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Shaped, UInt8
from PIL import ExifTags, Image, ImageFile, ImageOps

from mnemic_core.errors import UserError
from mnemic_vision.picture_files.picture import Picture, check_size, damage_named
from mnemic_vision.picture_files.pixel_values import as_tensor, over_white, unit_values, upright

# Pillow would also start Ghostscript for a file that looks like PostScript.
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "PPM", "TIFF")
_PNG_COLOR_TYPES = {2, 4, 6}  # in the header: RGB, grey and alpha, RGB and alpha
_PNG_GREY = {"1", "L", "I;16"}


@contextmanager
def open_image(path: str | Path) -> Iterator[ImageFile.ImageFile]:
    """Open an image file; also errors within the block, when it is decoded, are reported as those of the file.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is not a complete image.
    """
    with damage_named(path), _open(path) as image:
        yield image


def _open(path: str | Path) -> ImageFile.ImageFile:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `check_size` is stricter
        try:
            return Image.open(path, formats=_FORMATS)
        except Image.DecompressionBombError as error:
            raise UserError(f"image {path} is too large; reduce or tile it first ({error})") from error


def read_still(path: Path) -> Iterator[Picture]:
    """Yield the picture of a file, or the frames of an animation; of a multi-picture JPEG the main one."""
    with open_image(path) as image:
        # The further pictures of a phone's MPO are previews and depth maps.
        count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        for index in range(count):
            check_size(path, *image.size)
            image.seek(index)
            yield Picture.of_file(path, as_tensor(image_values(image)), index, count)


def image_values(image: ImageFile.ImageFile) -> Float32[np.ndarray, "height width channel"]:
    """Return an opened image in [0, 1], grey or RGB, upright, on white where it is transparent."""
    samples = _samples(image)
    color, alpha = (samples[..., :-1], samples[..., -1:]) if samples.shape[2] in {2, 4} else (samples, None)
    values = unit_values(color)
    if alpha is not None:
        values = over_white(values, alpha.astype(np.float32) / np.float32(np.iinfo(alpha.dtype).max))
    return upright(values, image.getexif().get(ExifTags.Base.Orientation, 1))


def image_bytes(image: ImageFile.ImageFile) -> UInt8[np.ndarray, "height width 3"]:
    """Return an opened image as RGB bytes, upright, on white where it is transparent."""
    if image.mode in {"L", "RGB"} and "transparency" not in image.info and not _is_deep_color(image):
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    values = np.rint(image_values(image) * 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(values, (*values.shape[:2], 3)))


def _samples(image: ImageFile.ImageFile) -> Shaped[np.ndarray, "height width channel"]:
    """Return the stored samples of grey, grey and alpha, RGB, or RGB and alpha."""
    image.load()  # a WebP or GIF knows its transparency only now
    if _is_deep_color(image):
        return _deep_color(image)
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        raise UserError(f"{_file(image)} is a CMYK JPEG that does not say if it is inverted; save it as RGB")
    if image.format == "PNG" and image.mode in _PNG_GREY and "transparency" in image.info:
        return _grey_with_transparent_value(image)
    mode = _target_mode(image)
    values = np.asarray(image if mode == image.mode else image.convert(mode))
    return values[..., None] if values.ndim == 2 else values


def _target_mode(image: ImageFile.ImageFile) -> str:
    """Return the mode that keeps all of an image's values, except that palettes and inks become RGB."""
    if image.mode in {"1", "L", "I", "F", "LA", "RGBA"} or image.mode.startswith("I;16"):
        return image.mode
    if image.mode in {"P", "PA", "RGB", "RGBa", "CMYK", "YCbCr"}:
        return "RGBA" if image.has_transparency_data else "RGB"
    raise UserError(f"{_file(image)} has pixels of the kind {image.mode}; save it as grey or RGB")


def _grey_with_transparent_value(image: ImageFile.ImageFile) -> Shaped[np.ndarray, "height width 2"]:
    """Return grey and alpha of a PNG that declares one of its values transparent."""
    values = np.asarray(image.convert("L") if image.mode == "1" else image)
    greatest = np.iinfo(values.dtype).max
    # The value is that of the file, whose 1, 2 or 4 bits Pillow has widened to 8.
    transparent = image.info["transparency"] * (greatest // (2 ** _header(image)[24] - 1))
    return np.stack([values, np.where(values == transparent, 0, greatest).astype(values.dtype)], axis=2)


def _is_deep_color(image: ImageFile.ImageFile) -> bool:
    """Whether a PNG has 16 bits in each of several channels, of which Pillow would keep 8."""
    if image.format != "PNG":
        return False
    depth, color_type = _header(image)[24:26]
    return depth == 16 and color_type in _PNG_COLOR_TYPES


def _file(image: ImageFile.ImageFile) -> Path:
    return Path(os.fsdecode(image.filename))


def _header(image: ImageFile.ImageFile) -> bytes:
    with _file(image).open("rb") as file:
        return file.read(26)


def _deep_color(image: ImageFile.ImageFile) -> Shaped[np.ndarray, "height width channel"]:
    # Slow to import, and rarely needed.
    from torchvision.io import ImageReadMode, decode_png

    data = torch.frombuffer(bytearray(_file(image).read_bytes()), dtype=torch.uint8)
    return np.asarray(decode_png(data, ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy())
