"""Text files as bytes: unpacked, and in UTF-8."""

import bz2
import codecs
import gzip
import lzma
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from mnemic_core.errors import UserError

# By the bytes that a file begins with: its name may say nothing.
_UNPACK: Mapping[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\x00": lzma.decompress,
}
_SUFFIXES = (".gz", ".bz2", ".xz")
_REFUSED = {
    b"PK\x03\x04": "a zip archive",
    b"(\xb5/\xfd": "compressed with zstd",
    b"7z\xbc\xaf'\x1c": "a 7z archive",
    b"Rar!": "a rar archive",
    b"\x04\x22\x4d\x18": "compressed with lz4",
}
_UTF_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text_file(path: Path) -> bytes:
    """Return the content of a text file, plain or packed by gzip, bzip2 or xz; UTF-16 and UTF-32 become UTF-8.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is damaged, or packed by another program.
    """
    content = path.read_bytes()
    unpack = next((unpack for mark, unpack in _UNPACK.items() if content.startswith(mark)), None)
    if unpack is None and path.suffix in _SUFFIXES:
        raise UserError(f"{path} is damaged or not compressed as its name says: copy it again")
    if unpack is not None:
        try:
            content = unpack(content)
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise UserError(f"{path} is damaged ({error}): copy it again") from error
    for mark, kind in _REFUSED.items():
        if content.startswith(mark):
            raise UserError(f"{path} is {kind}, not text: unpack it first")
    return _as_utf8(content, path)


def _as_utf8(content: bytes, path: Path) -> bytes:
    """Return text whose byte order mark says UTF-16 or UTF-32 in UTF-8, and any other content as it is."""
    # The mark of UTF-16 is the beginning of that of UTF-32.
    encoding = "utf-32" if content.startswith(_UTF_32) else "utf-16" if content.startswith(_UTF_16) else None
    if encoding is None:
        return content
    try:
        return content.decode(encoding).encode()
    except UnicodeError as error:
        raise UserError(f"{path} begins as {encoding.upper()} text, but is not ({error}): convert it") from error
