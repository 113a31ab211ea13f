"""Pictures from files and from bytes of strangers."""

import hashlib
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_core.tensor_file import check_file

MAX_PIXELS = 50_000_000
"""Pictures with more are refused before they are decoded."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def read_picture(source: str | Path | bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return a picture in RGB, upright and on white where it is transparent.

    Args:
        source: path of a file, or its content.
        max_pixels: most that it may have.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is no picture, is damaged, or has too many pixels.
    """
    name = "the picture" if isinstance(source, bytes) else str(source)
    if not isinstance(source, bytes):
        check_file(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our limit is lower
            with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as picture:
                if picture.width * picture.height > max_pixels:
                    raise UserError(
                        f"{name} has {picture.width} x {picture.height} pixels, more than {max_pixels}: make it smaller"
                    )
                return _flat(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError as error:
        raise UserError(f"{name} is no picture of a known format ({', '.join(FORMATS)})") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{name} is damaged ({error}): copy or download it again") from error


def picture_hash(source: str | Path | bytes) -> str:
    """Return the SHA-256 of a file or its content, by which copies are recognized."""
    return hashlib.sha256(source if isinstance(source, bytes) else Path(source).read_bytes()).hexdigest()


def as_tensor(picture: Image.Image, size: tuple[int, int]) -> Float[Tensor, "3 height width"]:
    """Return a picture with values in [0, 1], scaled as a whole and filled with white to ``size``, height and width."""
    height, width = size
    fitted = ImageOps.pad(picture, (width, height), Image.Resampling.BICUBIC, color=(255, 255, 255))
    return torch.from_numpy(np.array(fitted, dtype=np.float32) / 255).permute(2, 0, 1)


def _flat(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # 16 bits, which Pillow would cut off instead of scaling them
        return Image.fromarray((np.asarray(picture) // 256).clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode in {"RGB", "L"}:
        return picture.convert("RGB")
    layered = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layered.size, (255, 255, 255, 255)), layered).convert("RGB")
