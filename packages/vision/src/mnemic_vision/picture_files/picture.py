"""A picture with its name, the sizes that are read, and errors of damaged files in one line."""

import lzma
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float32
from torch import Tensor

from mnemic_core.errors import UserError

MIN_SIDE = 8  # pixels; a smaller picture shows nothing and is taken for a mistake
MAX_PIXELS = 2**26  # of one picture: 805 MB as float32 RGB
MAX_BYTES = 2**31  # of stored pixels that a format makes us keep in memory at once

# What decoders raise for damaged files.
_DAMAGE = (
    OSError, ValueError, IndexError, TypeError, EOFError, KeyError, AttributeError, SyntaxError, ArithmeticError,
    RuntimeError, AssertionError, struct.error, zlib.error, lzma.LZMAError,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture, page, frame or slice of a file.

    Attributes:
        name: the file's name; with ``#2`` for the second picture of a file with several.
        pixels: values in [0, 1], grey or RGB.
    """

    name: str
    pixels: Float32[Tensor, "channel height width"]

    @classmethod
    def of_file(
        cls, path: Path, pixels: Float32[Tensor, "channel height width"], index: int = 0, count: int = 1
    ) -> "Picture":
        """Return the picture of a file, by its index from 0 and the file's number of pictures."""
        return cls(path.name if count == 1 else f"{path.name}#{index + 1}", pixels)


def check_size(path: Path, width: int, height: int) -> None:
    """Refuse pictures of useless or too large sizes (pixels), before they are decoded.

    Raises:
        UserError: a side is below `MIN_SIDE`, or there are more pixels than `MAX_PIXELS`.
    """
    if min(width, height) < MIN_SIDE:
        raise UserError(f"image {path} has {width}x{height} pixels; each side needs at least {MIN_SIDE}")
    if width * height > MAX_PIXELS:
        raise UserError(
            f"image {path} has {width}x{height} pixels, more than {MAX_PIXELS:,} are not read; reduce or tile it first"
        )


def check_bytes(path: Path, stored: int) -> None:
    """Refuse files whose stored pixels (bytes) do not fit into bounded memory.

    Raises:
        UserError: there are more than `MAX_BYTES`.
    """
    if stored > MAX_BYTES:
        raise UserError(f"image {path} holds {stored:,} bytes, more than {MAX_BYTES:,} are not read; split it first")


@contextmanager
def damage_named(path: str | Path) -> Iterator[None]:
    """Report what decoders raise within the block as one line about the file.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is not a complete picture.
    """
    try:
        yield
    except UserError as error:
        if str(path) in str(error):
            raise
        raise UserError(f"image {path}: {error}") from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f"image {path} does not exist") from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"image {path} is damaged or not an image; replace or remove it ({reason})") from error
