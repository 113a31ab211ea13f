"""What a memory is asked, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from PIL.Image import Image

from mnemic_retrieval.store.items import Item

Region: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom of a part of a picture, as shares of its width and height."""


@dataclass(frozen=True)
class Question:
    """A question, with a picture or without.

    Attributes:
        text: the question.
        image: picture that belongs to it, in RGB.
    """

    text: str
    image: Image | None = None


@dataclass(frozen=True)
class Citation:
    """An item that the answer was read from.

    Attributes:
        score: product of its vector and that of the question.
        item: the item.
        share: of the attention to all items that this one got while the answer was written.
        region: part of its picture that the answer looked at most; None without a picture.
    """

    score: float
    item: Item
    share: float = 0.0
    region: Region | None = None


CITED = 0.5
"""Share of the highest attention from which an item counts as cited."""


@dataclass(frozen=True)
class Answer:
    """What the network wrote.

    Attributes:
        text: the answer; empty where it abstains.
        citations: the items it read, in the order in which they were found.
        is_sure: whether the best item reached the threshold.
        seconds: spent on ``encode``, ``search``, ``fetch`` and ``read``, as a share of the batch it was in.
    """

    text: str
    citations: tuple[Citation, ...]
    is_sure: bool = True
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def cited(self) -> tuple[str, ...]:
        """Ids of the items that the answer rests on: those with at least half of the highest attention."""
        highest = max((citation.share for citation in self.citations), default=0.0)
        return tuple(each.item.id for each in self.citations if each.share >= CITED * highest)
