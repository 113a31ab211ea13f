"""What a memory holds: pictures with captions, pictures, and texts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal, TypeAlias

from jaxtyping import Float
from torch import Tensor

Modality: TypeAlias = Literal["text", "image", "image_text"]

FieldType: TypeAlias = Literal["str", "int", "float", "bool", "tags"]
"""Type of a metadata field that can be filtered; tags are a list of strings."""


def modality_of(text: str, image: str | None) -> Modality:
    """Return what an item with a text and a picture, of which one may be absent, consists of."""
    if image is None:
        return "text"
    return "image_text" if text.strip() else "image"


@dataclass(frozen=True)
class Item:
    """One item of a memory.

    Attributes:
        id: unique in the memory.
        vector: by whose inner product with a query it is found.
        modality: what it consists of.
        text: caption or text; may be empty for a picture.
        image: path or address of the picture.
        image_hash: SHA-256 of its bytes, to recognize copies.
        metadata: further facts, of JSON types, such as title, source and time.
        version: 1 for the first; counted by the store with each change.
    """

    id: str
    vector: Float[Tensor, " dim"]
    modality: Modality = "text"
    text: str = ""
    image: str | None = None
    image_hash: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1


@dataclass(frozen=True)
class Hit:
    """A found item.

    Attributes:
        score: inner product of its vector and the query.
        item: the item.
    """

    score: float
    item: Item


def is_of_type(value: object, kind: FieldType) -> bool:
    """Return whether a value fits a field: whole numbers have 64 bits, others are finite, texts are UTF-8 without 0."""
    if kind == "tags":
        return isinstance(value, list | tuple) and all(is_of_type(tag, "str") for tag in value)
    if kind == "str":
        # PostgreSQL refuses a zero, and half of a surrogate pair is no UTF-8.
        return isinstance(value, str) and not any(each == "\0" or "\ud800" <= each <= "\udfff" for each in value)
    if kind == "bool" or isinstance(value, bool):  # an int to Python, but not to a database
        return kind == "bool" and isinstance(value, bool)
    if kind == "int":
        return isinstance(value, int) and -(2**63) <= value < 2**63
    return isinstance(value, int | float) and isfinite(value)
