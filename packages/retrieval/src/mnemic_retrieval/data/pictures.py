"""The pictures of sources, in files of their own or in the table of WebQA."""

from functools import cache
from pathlib import Path

from PIL.Image import Image

from mnemic_retrieval.data.webqa import WebQa
from mnemic_retrieval.pictures import read_picture


def read_source_picture(place: str) -> Image:
    """Return a picture in RGB.

    Args:
        place: of a `Source`: a path, or ``imgs.tsv#ID`` for one of WebQA.

    Raises:
        FileNotFoundError: it is not there.
        UserError: it is damaged.
    """
    table, mark, identity = place.rpartition("#")
    if mark and table.endswith(".tsv"):
        return read_picture(_table(table).picture(identity))
    return read_picture(place)


@cache
def _table(path: str) -> WebQa:
    """Return a reader of pictures alone."""
    return WebQa(Path(), Path(path))
