"""Questions over a memory of pictures and texts, in one form for all data sets."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from mnemic_retrieval.store.items import Modality


@dataclass(frozen=True)
class Source:
    """A picture or text that may answer questions: an item of a memory before it is encoded.

    Attributes:
        id: unique in the data set.
        modality: what it consists of.
        text: caption or text.
        image: path of the picture.
        metadata: further facts, such as title and address.
    """

    id: str
    modality: Modality
    text: str = ""
    image: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Query:
    """A question with its right answers.

    Attributes:
        id: unique in the data set.
        question: the question.
        answers: what is right; in lists of answers, all of them together.
        image: path of a picture that belongs to the question.
        category: of the question, by which some sets are scored.
        keywords: words that an answer must contain, in WebQA.
        relevant: grade of each source that answers it, above 0; a source that is found through another one has the
            higher grade of the two.
        candidates: sources that are given with the question where memory is not searched; empty if none are.
        modality: of the sources that are searched, such as ``image`` where a picture is asked for; None: all.
    """

    id: str
    question: str
    answers: tuple[str, ...] = ()
    image: str | None = None
    category: str = ""
    keywords: str = ""
    relevant: Mapping[str, int] = field(default_factory=dict)
    candidates: tuple[str, ...] = ()
    modality: Modality | None = None


@runtime_checkable  # for the checks of types in tests
class QuestionSet(Protocol):
    """Sources and questions of one data set, read when asked for."""

    def sources(self) -> Iterator[Source]:
        """Yield what goes into the memory, each once."""

    def queries(self, split: str) -> Iterator[Query]:
        """Yield the questions of a part."""
