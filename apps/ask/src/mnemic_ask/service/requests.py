"""What clients send.

FastAPI has pydantic check these dataclasses. Both are optional, so nothing of them is imported here: `Within` has the
method that pydantic looks for in annotations, and ``__pydantic_config__`` is its name for settings.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, TypeAlias

from mnemic_ask.service.settings import MAX_DEPTH, MAX_FILTER, MAX_ID, MAX_IDS, MAX_ITEMS, MAX_K, MAX_TEXT
from mnemic_core.errors import UserError

_NOTHING_ELSE: Mapping[str, str] = {"extra": "forbid"}


class Within:
    """Annotation with bounds of a value, which must be of the type itself: ``"3"`` is no number.

    Args:
        bounds: as pydantic calls them, such as ``max_length``.
    """

    def __init__(self, **bounds: int | str) -> None:
        self.bounds = bounds

    def __get_pydantic_core_schema__(
        self, source: object, handler: Callable[[object], dict[str, Any]]
    ) -> dict[str, Any]:
        """Return what pydantic checks, with the bounds."""
        return handler(source) | {"strict": True, **self.bounds}


Id: TypeAlias = Annotated[str, Within(min_length=1, max_length=MAX_ID)]
Text: TypeAlias = Annotated[str, Within(max_length=MAX_TEXT)]
Asked: TypeAlias = Annotated[str, Within(min_length=1, max_length=MAX_TEXT)]
Base64: TypeAlias = Annotated[str, Within(min_length=1)]
Where: TypeAlias = Annotated[str, Within(max_length=MAX_FILTER)]
Digest: TypeAlias = Annotated[str, Within(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class AskRequest:
    """A question to answer.

    Attributes:
        question: the question.
        image: picture that belongs to it, in base64.
        where: filter of the items that may be used.
    """

    __pydantic_config__: ClassVar[Mapping[str, str]] = _NOTHING_ELSE

    question: Asked
    image: Base64 | None = None
    where: Where | None = None


@dataclass(frozen=True)
class SearchRequest(AskRequest):
    """A question to find items for.

    Attributes:
        k: most items.
    """

    k: Annotated[int, Within(ge=1, le=MAX_K)] = 10


@dataclass(frozen=True)
class NewItem:
    """An item to encode and put into the memory.

    Attributes:
        id: replaces the item of that id.
        text: caption or text.
        image: the picture, in base64.
        metadata: further facts.
    """

    __pydantic_config__: ClassVar[Mapping[str, str]] = _NOTHING_ELSE

    id: Id
    text: Text = ""
    image: Base64 | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.text and self.image is None:
            raise UserError("an item needs a text, an image or both")
        check_plain(self.metadata)


@dataclass(frozen=True)
class UpsertRequest:
    """Items to add or replace, all or none.

    Attributes:
        items: each id once.
    """

    __pydantic_config__: ClassVar[Mapping[str, str]] = _NOTHING_ELSE

    items: Annotated[list[NewItem], Within(min_length=1, max_length=MAX_ITEMS)]

    def __post_init__(self) -> None:
        if len({item.id for item in self.items}) < len(self.items):
            raise UserError("an id is there twice")


@dataclass(frozen=True)
class DeleteRequest:
    """Items to remove.

    Attributes:
        ids: unknown ones are no error.
    """

    __pydantic_config__: ClassVar[Mapping[str, str]] = _NOTHING_ELSE

    ids: Annotated[list[Id], Within(min_length=1, max_length=MAX_IDS)]


def check_plain(value: object, name: str = "metadata", depth: int = MAX_DEPTH) -> None:
    """Refuse values that JSON proper or UTF-8 does not have, which Python's reader lets pass, and deep nesting.

    Args:
        value: of JSON, with lists, tuples and dictionaries.
        name: what it is, for messages.
        depth: most levels.

    Raises:
        UserError: there is one.
    """
    if not depth:
        raise UserError(f"{name} may have {MAX_DEPTH} levels at most")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{name} must have finite numbers, got {value}")
    if isinstance(value, str) and not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
        raise UserError(f"{name} must have characters, got half of a surrogate pair")
    parts = (*value, *value.values()) if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    for part in parts:
        check_plain(part, name, depth - 1)
