"""Questions and items for training, validation and test."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import inf
from typing import Any

from torch.utils.data import DataLoader

from mnemic_ask.murag.batching import Choice, Collate, Examples, epoch_questions
from mnemic_ask.murag.sources import DataSource, Opened, open_sources
from mnemic_core.errors import UserError, check_range
from mnemic_core.weight_files import find_weights
from mnemic_kit.data import EpochShare, ResumableLoader, SplitData
from mnemic_retrieval.tokenizers import ByteTokenizer, Tokenizer, read_tokenizer

_CHOICE = Choice()


class MuragData(SplitData):
    """Questions over pictures and texts, in batches whose items are the memory of stage 1.

    Args:
        train: data sets whose questions are trained on.
        val: data sets for validation, where the memory holds all their items.
        test: data sets for test; default: those of validation.
        tokenizer: file of a tokenizer, see `find_weights`; null: bytes, which need no file.
        choice: how many items come with a question.
        shares: of the questions of a category that an epoch has, drawn anew each time; of others it has all.
        max_answer_tokens: longest answer in training.
        image_size: height and width of pictures, which the command line links to the model; null: the model reads them.
        batch_size: questions of a step and process.
        num_workers: worker processes.
        seed: of the order and of what is drawn; linked to ``seed_everything`` on the command line.
    """

    contents = "questions"
    example = "[{name: generated, root: data}]"

    def __init__(
        self,
        train: list[DataSource],
        val: list[DataSource] | None = None,
        test: list[DataSource] | None = None,
        tokenizer: str | None = None,
        choice: Choice = _CHOICE,
        shares: dict[str, float] | None = None,
        max_answer_tokens: int = 64,
        image_size: int | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(train, val or [], test or [], seed)
        self.choice, self.shares = choice, shares or {}
        self.max_answer_tokens, self.image_size = max_answer_tokens, image_size
        self.batch_size, self.num_workers, self._tokenizer_file = batch_size, num_workers, tokenizer
        check_range(self, 1, inf, "batch_size", "max_answer_tokens")
        check_range(self, 0, inf, "num_workers")
        for category, part in self.shares.items():
            if not 0 < part <= 1:
                raise UserError(f"shares of {category} must be above 0 and at most 1, got {part}")
        self.hard: Mapping[str, Sequence[str]] = {}
        self.found: Mapping[str, Sequence[str]] = {}

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of questions, items and answers."""
        return ByteTokenizer() if self._tokenizer_file is None else read_tokenizer(find_weights(self._tokenizer_file))

    @property
    def tokenizer_state(self) -> dict[str, Any]:
        """The tokenizer as plain data, linked to the model."""
        return self.tokenizer.state()

    @property
    def description(self) -> str:
        """The training data in one line, for the provenance of checkpoints."""
        return " + ".join(map(str, self.sources["train"]))

    def open_split(self, split: str, stage: str) -> Opened:
        """Read the data sets of a split."""
        opened = open_sources(self.sources[split], split)
        if self.sources[split] and not opened.queries:
            raise UserError(f"no questions in data.{split}: {', '.join(map(str, self.sources[split]))}")
        categories = {query.category for query in opened.queries}
        if split == "train" and (unknown := self.shares.keys() - categories):
            known = ", ".join(sorted(filter(None, categories))) or "none"
            raise UserError(
                f"data.shares names {', '.join(sorted(unknown))}, but questions have the categories {known}"
            )
        return opened

    def epoch_loader(self, train: Opened, share: EpochShare) -> ResumableLoader:
        """Return the batches of one epoch."""
        seed = (self.seed, share.epoch)
        queries = epoch_questions(train.queries, self.shares, seed)
        examples = Examples(train.sources, queries, self.choice, self.hard, self.found, seed)
        size = None if self.image_size is None else (self.image_size, self.image_size)
        collate = Collate(self.tokenizer, self.max_answer_tokens, size)
        return ResumableLoader(examples, share, self.batch_size, collate, num_workers=self.num_workers)

    def whole_loader(self, opened: Opened) -> DataLoader[Any]:
        """Return the questions of a split in batches; the task reads their pictures."""
        return DataLoader(opened.queries, batch_size=self.batch_size, collate_fn=list)  # type: ignore[arg-type]
