"""Questions of training, validation and test, and the memories that answer them."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader

from mnemic_ask.emat.batches import Collate, EpochQuestions
from mnemic_ask.emat.neighbors import read_neighbors
from mnemic_ask.emat.sources import Example, QuestionSource
from mnemic_ask.emat.vocabulary import Vocabulary
from mnemic_core.errors import UserError, check_range
from mnemic_kit.data import EpochShare, ResumableLoader, SplitData
from mnemic_retrieval.emat import KnownAnswer
from mnemic_retrieval.emat.pair_tokens import PairTokens
from mnemic_retrieval.tokenizers import Tokenizer

# An object, not None: jsonargparse shows its fields in the help page.
_VOCABULARY = Vocabulary()


class EmatData(SplitData):
    """Questions with answers; the defaults are those of the paper's pre-training.

    Args:
        train: sources of training questions.
        val: sources of validation questions.
        test: sources of questions for test and predict; default: the validation questions.
        memory: sources of the memory in training; default: the training questions.
        known: sources of the memory in validation and test; default: that of training.
        neighbors: file with the numbers of similar pairs of the memory, a list in a line for each training question,
            best first; default: the other pairs of a batch.
        vocabulary: tokens of the network.
        max_tokens: longest question or answer; the rest is cut off.
        batch_size: questions in a batch of one process.
        num_workers: worker processes.
        seed: of order, wording and answers; linked to ``seed_everything`` on the command line.
    """

    contents = "questions"
    example = "[{name: questions, path: FILE}]"

    def __init__(
        self,
        train: list[QuestionSource],
        val: list[QuestionSource] | None = None,
        test: list[QuestionSource] | None = None,
        memory: list[QuestionSource] | None = None,
        known: list[QuestionSource] | None = None,
        neighbors: Path | None = None,
        vocabulary: Vocabulary = _VOCABULARY,
        max_tokens: int = 64,
        batch_size: int = 128,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(train, val or [], test or [], seed)
        self.memory, self.known = memory, known
        self.vocabulary, self.max_tokens = vocabulary, max_tokens
        self.batch_size, self.num_workers = batch_size, num_workers
        self._neighbors = neighbors
        check_range(self, 2, inf, "max_tokens")
        check_range(self, 1, inf, "batch_size")
        check_range(self, 0, inf, "num_workers")

    @property
    def has_own_pairs(self) -> bool:
        """Whether pair i of the memory in training answers question i."""
        return self.memory is None

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch, all processes together."""
        return len(self.split("train")) // self.batch_size

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer; one that is learned is learned from the training questions and answers."""
        train = self.split("train")
        return self.vocabulary.open(text for each in train for text in (each.known.question, *each.answers))

    @property
    def tokenizer_state(self) -> dict[str, str]:
        """The tokenizer as plain data, linked to the model."""
        return self.tokenizer.state()

    @property
    def description(self) -> str:
        """The training data in one line, for the provenance of checkpoints."""
        memory = "" if self.memory is None else f", memory {' + '.join(map(str, self.memory))}"
        return f"{' + '.join(map(str, self.sources['train']))}{memory}"

    @cached_property
    def pairs(self) -> PairTokens:
        """The memory in training."""
        return PairTokens(self._known(self.memory), self.tokenizer, self.max_tokens)

    @cached_property
    def neighbors(self) -> Int[Tensor, "question neighbor"] | None:
        """Numbers of similar pairs for each training question, best first; None: those of the batch."""
        if self._neighbors is None:
            return None
        return read_neighbors(self._neighbors, len(self.split("train")), len(self.pairs))

    @cached_property
    def known_pairs(self) -> list[KnownAnswer]:
        """What the memory knows in validation and test."""
        return self._known(self.memory if self.known is None else self.known)

    def open_split(self, split: str, stage: str) -> list[Example]:
        """Return the questions of a split.

        Raises:
            UserError: there is no question.
        """
        return _open(self.sources[split])

    def epoch_loader(self, train: list[Example], share: EpochShare) -> ResumableLoader:
        """Return the batches of one epoch."""
        questions = EpochQuestions(train, (self.seed, share.epoch))
        collate = self._collate(train)
        return ResumableLoader(questions, share, self.batch_size, collate, num_workers=self.num_workers)

    def whole_loader(self, opened: list[Example]) -> DataLoader[Any]:
        """Return all questions in their order."""
        collate: Any = self._collate(opened)
        return DataLoader(EpochQuestions(opened), batch_size=self.batch_size, collate_fn=collate)

    def answers(self) -> list[tuple[str, ...]]:
        """Return the right answers of each training question."""
        return [each.answers for each in self.split("train")]

    def questions_in_order(self) -> Iterable[Int[Tensor, "question token"]]:
        """Yield the tokens of all training questions, asked in the first way, in batches."""
        collate, questions = self._collate(self.split("train")), EpochQuestions(self.split("train"))
        for places in torch.arange(len(questions)).split(4 * self.batch_size):
            yield collate([questions[place] for place in places.tolist()]).questions

    def _collate(self, examples: Sequence[Example]) -> Collate:
        return Collate(examples, self.tokenizer, self.max_tokens)

    def _known(self, sources: list[QuestionSource] | None) -> list[KnownAnswer]:
        return [each.known for each in (self.split("train") if sources is None else _open(sources))]


def _open(sources: Sequence[QuestionSource]) -> list[Example]:
    found = [example for source in sources for example in source.open()]
    if not found:
        raise UserError("no source of questions is given: name one, as [{name: questions, path: FILE}]")
    return found
