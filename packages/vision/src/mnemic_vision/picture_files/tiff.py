"""Pictures of TIFF files, read by tifffile, and by Pillow where a compression needs it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Shaped
from tifffile import COMPRESSION, PHOTOMETRIC, TiffFile, TiffPage

from mnemic_core.errors import UserError
from mnemic_vision.picture_files.picture import Picture, check_size
from mnemic_vision.picture_files.pixel_values import as_tensor, over_white, unit_values, upright
from mnemic_vision.picture_files.still_image import image_values, open_image

_NUM_COLORS: dict[int, int] = {
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.SEPARATED: 4,
}  # samples of a pixel without transparency
_COMPRESSIONS = {
    COMPRESSION.NONE, COMPRESSION.PACKBITS, COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE, COMPRESSION.LZMA
}  # fmt: skip
_BITS = {1, 8, 16, 32, 64}
_HORIZONTAL = 2  # the greatest predictor; 3 is that of floats
_PREMULTIPLIED, _ALPHA = 1, 2  # kinds of alpha among the extra samples
_REDUCED, _MASK = 1, 4  # flags of the subfile type
_SUBFILE_TYPE, _ORIENTATION, _PREDICTOR = 254, 274, 317


def read_tiff(path: Path) -> Iterator[Picture]:
    """Yield the pages of a TIFF file, without reduced copies and transparency masks."""
    with _quiet():
        tif = TiffFile(path)
    with tif:
        with _quiet():
            pages = _pages(tif, path)
        for index, page in enumerate(pages):
            _check_page(page, path, tif.filehandle.size)
            values = _values(page, path) if _is_plain(page) else _values_by_pillow(page, path)
            yield Picture.of_file(path, as_tensor(values), index, len(pages))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep tifffile from logging the damage that is raised as an error."""
    logger = logging.getLogger("tifffile")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _pages(tif: TiffFile, path: Path) -> list[TiffPage]:
    """Return the pages that show something, if there are as many as the file announces."""
    pages = [page for page in tif.pages if isinstance(page, TiffPage)]
    tif.filehandle.seek(tif.pages.next_page_offset or 0)
    is_cut = any(tif.filehandle.read(tif.tiff.offsetsize))  # the last page points to no other
    stacked = int((tif.imagej_metadata or {}).get("images", 1))
    if is_cut or not pages:
        raise UserError(f"image {path} is cut off after {len(pages)} pages; replace it by a complete copy")
    if stacked > len(pages) == 1:
        raise UserError(f"image {path} is an ImageJ stack of {stacked} pictures in one page; save it as separate pages")
    return [page for page in pages if not _tag(page, _SUBFILE_TYPE, 0) & (_REDUCED | _MASK)] or pages


def _tag(page: TiffPage, code: int, default: int) -> int:
    tag = page.tags.get(code)
    return default if tag is None else int(tag.value)


def _name(kind: type[IntEnum], code: int) -> str:
    return kind(code).name if code in kind.__members__.values() else str(code)


def _check_page(page: TiffPage, path: Path, file_size: int) -> None:
    """Refuse pages that are too large, volumes or incomplete, before any is decoded."""
    check_size(path, page.imagewidth, page.imagelength)
    if page.imagedepth > 1:
        raise UserError(f"image {path} has a volume in one page; save its slices as separate pages")
    ends = [offset + size for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if not ends or max(ends) > file_size or 0 in page.databytecounts:
        raise UserError(f"image {path} is cut off in page {page.index + 1}; replace it by a complete copy")


def _is_plain(page: TiffPage) -> bool:
    """Whether tifffile decodes a page without its large companion imagecodecs."""
    is_plain = page.compression in _COMPRESSIONS and page.bitspersample in _BITS
    return is_plain and _tag(page, _PREDICTOR, 1) <= _HORIZONTAL


def _values_by_pillow(page: TiffPage, path: Path) -> Float32[np.ndarray, "height width channel"]:
    """Return a page that is compressed with LZW, JPEG and others, where Pillow keeps all bits and the polarity."""
    is_deep_grey = page.photometric == PHOTOMETRIC.MINISBLACK and page.samplesperpixel == 1
    if page.bitspersample > 8 and not is_deep_grey:
        raise UserError(
            f"image {path} has {page.bitspersample} bits and the compression {_name(COMPRESSION, page.compression)}, "
            "which together are not read; save it without compression"
        )
    with open_image(path) as image:
        image.seek(page.index)
        return image_values(image)


def _values(page: TiffPage, path: Path) -> Float32[np.ndarray, "height width channel"]:
    num_colors = _NUM_COLORS.get(page.photometric, 0)
    extra = page.extrasamples
    if page.samplesperpixel != num_colors + len(extra) or extra not in {(), (_PREMULTIPLIED,), (_ALPHA,)}:
        raise UserError(
            f"image {path} has {page.samplesperpixel} channels of the kind {_name(PHOTOMETRIC, page.photometric)}, "
            f"{len(extra)} of them of unknown meaning; save it as grey or RGB"
        )
    samples = _samples(page)
    colors = _colors(page, samples[..., :num_colors])
    if extra:
        alpha = samples[..., num_colors:]
        greatest = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1
        colors = over_white(colors, alpha.astype(np.float32) / np.float32(greatest), extra == (_PREMULTIPLIED,))
    return upright(colors, _tag(page, _ORIENTATION, 1))


def _samples(page: TiffPage) -> Shaped[np.ndarray, "height width channel"]:
    values = page.asarray()
    if page.axes == "YX":
        return values[..., None]
    return np.moveaxis(values, 0, 2) if page.axes == "SYX" else values


def _colors(
    page: TiffPage, samples: Shaped[np.ndarray, "height width sample"]
) -> Float32[np.ndarray, "height width channel"]:
    """Return grey or RGB in [0, 1] from the samples, as the photometric interpretation says."""
    if page.photometric == PHOTOMETRIC.PALETTE and page.colormap is not None:
        # Some programs write bytes into the 16-bit table.
        greatest = 65535 if page.colormap.max() > 255 else 255
        return np.asarray(page.colormap.T[samples[..., 0].astype(int)] / greatest, dtype=np.float32)
    values = unit_values(samples)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        return np.float32(1) - values
    if page.photometric == PHOTOMETRIC.SEPARATED:
        return np.asarray((1 - values[..., :3]) * (1 - values[..., 3:]))
    return values
