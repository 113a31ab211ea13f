"""Training batches: questions, and the items that are their memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.utils.data import Dataset

from mnemic_retrieval.data import Query, Source
from mnemic_retrieval.data.pictures import read_source_picture
from mnemic_retrieval.murag import Entry
from mnemic_retrieval.pictures import as_tensor
from mnemic_retrieval.t5.model import IGNORED
from mnemic_retrieval.tokenizers import PAD_ID, Tokenizer


@dataclass(frozen=True)
class Example:
    """A question with the items that come with it into a batch.

    Attributes:
        query: the question.
        answer: one of its answers; empty where it only asks for items.
        items: some that answer it, and some that do not.
        found: ids of what was found for it before training; empty if nothing was searched.
    """

    query: Query
    answer: str
    items: tuple[Source, ...]
    found: tuple[str, ...] = ()


@dataclass(frozen=True)
class MuragBatch:
    """Questions and items.

    Attributes:
        questions: of the batch.
        items: its memory, each once.
        grades: of the items that answer a question; 0 elsewhere.
        is_allowed: False where an item has the question's own picture, or is of a modality that is not searched.
        labels: tokens of the answers; `IGNORED` behind them, and everywhere in a row without one.
        found: rows of ``items`` that are read for each question, best first, -1 where there are fewer; None: those are
            chosen from the whole batch.
    """

    questions: tuple[Entry, ...]
    items: tuple[Entry, ...]
    grades: Int[Tensor, "batch item"]
    is_allowed: Bool[Tensor, "batch item"]
    labels: Int[Tensor, "batch token"]
    found: Int[Tensor, "batch rank"] | None = None

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self.questions)

    def to(self, device: torch.device) -> "MuragBatch":
        """Return a copy whose tensors are on a device."""
        names = ("grades", "is_allowed", "labels", "found")
        moved = {name: tensor.to(device) for name in names if (tensor := getattr(self, name)) is not None}
        questions, items = (tuple(_moved(entry, device) for entry in part) for part in (self.questions, self.items))
        return replace(self, **moved, questions=questions, items=items)


@dataclass(frozen=True)
class Choice:
    """How many items come with a question.

    Attributes:
        positives: most of those that answer it, the highest grades first.
        negatives: of those that do not: first its hard ones, then any.
    """

    positives: int = 2
    negatives: int = 3


class Examples(Dataset[Example]):
    """The questions of one epoch with items that are drawn for each.

    Args:
        sources: all items, by id.
        queries: all questions.
        choice: how many items come with a question.
        hard: ids of close items that do not answer, for each question, best first.
        found: ids of what was found for each question before training.
        seed: of what is drawn, with the epoch.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        queries: Sequence[Query],
        choice: Choice,
        hard: Mapping[str, Sequence[str]],
        found: Mapping[str, Sequence[str]],
        seed: tuple[int, int],
    ) -> None:
        self.sources, self.queries, self.choice, self.seed = sources, queries, choice, seed
        self.hard, self.found = hard, found
        self._ids = [*sources]

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self.queries)

    def __getitem__(self, index: int) -> Example:
        """Return a question; what is drawn follows from its number."""
        query, generator = self.queries[index], np.random.default_rng((*self.seed, index))
        answer = query.answers[int(generator.integers(len(query.answers)))] if query.answers else ""
        if query.id in self.found:
            found = tuple(self.found[query.id])
            return Example(query, answer, tuple(self.sources[each] for each in found), found)
        relevant = [each for each in query.relevant if each in self.sources]
        drawn: list[str] = generator.permutation(relevant).tolist()
        chosen = sorted(drawn, key=lambda each: -query.relevant[each])[: self.choice.positives]
        chosen += self._negatives(query, generator)
        return Example(query, answer, tuple(self.sources[each] for each in chosen))

    def _negatives(self, query: Query, generator: np.random.Generator) -> list[str]:
        hard = [each for each in self.hard.get(query.id, query.candidates) if each in self.sources]
        close = [each for each in hard if each not in query.relevant]
        drawn = generator.permutation(close).tolist()[: self.choice.negatives]
        others = [self._ids[place] for place in generator.integers(len(self._ids), size=self.choice.negatives)]
        return [*drawn, *others][: self.choice.negatives]


def epoch_questions(queries: Sequence[Query], shares: Mapping[str, float], seed: tuple[int, int]) -> list[Query]:
    """Return the questions of an epoch, those of a category with a share drawn; at least one of each.

    Example:
        >>> queries = [Query(str(number), "?", category="fact") for number in range(10)]
        >>> len(epoch_questions(queries, {"fact": 0.3}, seed=(0, 1)))
        3
    """
    generator, kept = np.random.default_rng(seed), set(range(len(queries)))
    for category, share in sorted(shares.items()):
        rows = [row for row, query in enumerate(queries) if query.category == category]
        kept -= set(generator.permutation(rows).tolist()[max(1, round(share * len(rows))) :])
    return [queries[row] for row in sorted(kept)]


class Collate:
    """Makes a batch of examples.

    Args:
        tokenizer: of the answers.
        max_answer_tokens: longest answer.
        size: height and width of pictures that are read here, in worker processes; None: they are read by the encoder,
            which keeps their features.
    """

    def __init__(self, tokenizer: Tokenizer, max_answer_tokens: int, size: tuple[int, int] | None) -> None:
        self.tokenizer, self.max_answer_tokens, self.size = tokenizer, max_answer_tokens, size

    def __call__(self, examples: Sequence[Example]) -> MuragBatch:
        """Return a batch whose items are those of all examples."""
        queries = [example.query for example in examples]
        items = [*{item.id: item for example in examples for item in example.items}.values()]
        rows = {item.id: row for row, item in enumerate(items)}
        found = None
        if any(example.found for example in examples):
            longest = max(len(example.found) for example in examples)
            ranked = [[rows[each] for each in example.found] for example in examples]
            found = torch.tensor([row + [-1] * (longest - len(row)) for row in ranked])
        return MuragBatch(
            tuple(self._entry(query.question, query.image) for query in queries),
            tuple(self._entry(item.text, item.image) for item in items),
            torch.tensor([[query.relevant.get(item.id, 0) for item in items] for query in queries]),
            torch.tensor([[_is_searched(query, item) for item in items] for query in queries]),
            self._labels([example.answer for example in examples]),
            found,
        )

    def _labels(self, answers: Sequence[str]) -> Int[Tensor, "batch token"]:
        tokens = self.tokenizer.batch(answers, self.max_answer_tokens)
        is_empty = torch.tensor([not answer for answer in answers])
        return tokens.masked_fill((tokens == PAD_ID) | is_empty[:, None], IGNORED)

    def _entry(self, text: str, image: str | None) -> Entry:
        picture: Any = image
        if image is not None and self.size is not None:
            picture = as_tensor(read_source_picture(image), self.size)
        return Entry(text, picture)


def _is_searched(query: Query, item: Source) -> bool:
    is_own = item.image is not None and item.image == query.image
    return not is_own and query.modality in (None, item.modality)


def _moved(entry: Entry, device: torch.device) -> Entry:
    return replace(entry, image=entry.image.to(device)) if isinstance(entry.image, Tensor) else entry
