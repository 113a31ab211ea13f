"""Questions with answers as tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import Dataset

from mnemic_ask.emat.sources import Example
from mnemic_kit.seeding import hashed_seed
from mnemic_retrieval.emat.memory import QUESTION
from mnemic_retrieval.t5.model import IGNORED
from mnemic_retrieval.tokenizers import PAD_ID, Tokenizer


@dataclass(frozen=True)
class QuestionBatch:
    """Questions of a step.

    Attributes:
        places: of the questions in their split.
        questions: tokens.
        labels: tokens of an answer, -100 at padding.
        examples: the questions as text.
    """

    places: Int[Tensor, " batch"]
    questions: Int[Tensor, "batch token"]
    labels: Int[Tensor, "batch output"]
    examples: tuple[Example, ...]

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self.places)

    def to(self, device: torch.device | str) -> "QuestionBatch":
        """Return the batch on a device; places stay on the CPU, where the memory's tokens are."""
        return replace(self, questions=self.questions.to(device), labels=self.labels.to(device))


class EpochQuestions(Dataset[tuple[int, str, str]]):
    """Place, wording and answer of each question.

    Args:
        examples: the questions.
        key: seed and epoch, from which wording and answer follow; None: the first ones.
    """

    def __init__(self, examples: Sequence[Example], key: tuple[int, int] | None = None) -> None:
        self.examples, self.key = examples, key

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self.examples)

    def __getitem__(self, place: int) -> tuple[int, str, str]:
        """Return one question."""
        example = self.examples[place]
        drawn = 0 if self.key is None else hashed_seed(*self.key, place)
        wording, answer = drawn % len(example.forms), drawn // len(example.forms) % len(example.answers)
        return place, example.forms[wording], example.answers[answer]


@dataclass(frozen=True)
class Collate:
    """Makes a batch of questions.

    Attributes:
        examples: all questions of the split.
        tokenizer: of the network.
        max_tokens: longest question or answer.
    """

    examples: Sequence[Example]
    tokenizer: Tokenizer
    max_tokens: int

    def __call__(self, items: list[tuple[int, str, str]]) -> QuestionBatch:
        """Return the batch."""
        places, questions, answers = zip(*items, strict=True)
        labels = self.tokenizer.batch(answers, self.max_tokens)
        return QuestionBatch(
            torch.tensor(places),
            self.tokenizer.batch([QUESTION + question for question in questions], self.max_tokens),
            labels.masked_fill(labels == PAD_ID, IGNORED),
            tuple(self.examples[place] for place in places),
        )
