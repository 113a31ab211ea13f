"""Base classes of algorithmic tasks."""

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from mnemic_core.errors import check_at_least

Level = Literal["regular", "dcf", "cs"]

END = 2  # the token that ends a binary answer; zeros follow


@dataclass(frozen=True)
class TaskBatch:
    """Strings of one length with their solutions.

    Attributes:
        inputs: input tokens.
        targets: output tokens.
        valid: True at outputs that count.
    """

    inputs: Int[Tensor, "batch time"]
    targets: Int[Tensor, "batch output"]
    valid: Bool[Tensor, "batch output"]

    def to(self, device: torch.device | str) -> "TaskBatch":
        """Return a copy on a device."""
        return TaskBatch(self.inputs.to(device), self.targets.to(device), self.valid.to(device))


class AlgorithmicTask(ABC):
    """A task on strings of tokens with an exact solution at every length.

    Attributes:
        name: its name in configurations.
        level: simplest class of languages that contains it: ``"regular"``, ``"dcf"`` (deterministic context-free) or
            ``"cs"`` (context-sensitive).
        has_end: whether an answer ends with a token, after which outputs do not count.
        input_size: number of input tokens.
        output_size: number of output tokens.
    """

    name: ClassVar[str]
    level: ClassVar[Level]
    has_end: ClassVar[bool] = False
    input_size: int = 2
    output_size: int = 2

    @abstractmethod
    def draw(self, batch: int, length: int, generator: torch.Generator | None) -> Int[Tensor, "batch time"]:
        """Return random inputs of the length, at least 1."""

    @abstractmethod
    def solve(self, inputs: Int[Tensor, "batch time"]) -> Int[Tensor, "batch output"]:
        """Return the solution of every row."""

    def output_length(self, length: int) -> int:
        """Return the length of the outputs for inputs of the given length."""
        return 1

    def valid(self, targets: Int[Tensor, "batch output"]) -> Bool[Tensor, "batch output"]:
        """Return True at outputs that count: all, or all up to the end token."""
        if not self.has_end:
            return torch.ones_like(targets, dtype=torch.bool)
        is_end = targets == END
        return is_end.cumsum(1) - is_end.long() == 0

    def sample(self, batch: int, length: int, *, generator: torch.Generator | None = None) -> TaskBatch:
        """Return random inputs of a length and their solutions; without a generator from PyTorch's own."""
        check_at_least(1, batch=batch, length=length)
        inputs = self.draw(batch, length, generator)
        targets = self.solve(inputs)
        return TaskBatch(inputs, targets, self.valid(targets))


class StringTask(AlgorithmicTask):
    """A task whose inputs are random tokens, all equally likely."""

    def draw(self, batch: int, length: int, generator: torch.Generator | None) -> Int[Tensor, "batch time"]:
        """Return random tokens."""
        return draw_tokens(batch, length, self.input_size, generator)


class SymbolTask(StringTask):
    """A task that returns the symbols of its input rearranged.

    Args:
        symbols: number of symbols, at least 2.
    """

    def __init__(self, symbols: int = 2) -> None:
        check_at_least(2, symbols=symbols)
        self.input_size = self.output_size = symbols

    def output_length(self, length: int) -> int:
        """Return the length of the input."""
        return length


class RowTask(AlgorithmicTask):
    """A task that is drawn and solved row by row, for grammars and integers of any size."""

    @abstractmethod
    def draw_row(self, length: int, source: random.Random) -> list[int]:
        """Return one random input."""

    @abstractmethod
    def solve_row(self, row: list[int]) -> list[int]:
        """Return the solution of one input."""

    def draw(self, batch: int, length: int, generator: torch.Generator | None) -> Int[Tensor, "batch time"]:
        """Return random inputs of the length, at least 1."""
        source = random.Random(int(torch.randint(2**63 - 1, (), generator=generator)))
        return torch.tensor([self.draw_row(length, source) for _ in range(batch)])

    def solve(self, inputs: Int[Tensor, "batch time"]) -> Int[Tensor, "batch output"]:
        """Return the solution of every row."""
        return torch.tensor([self.solve_row(row) for row in inputs.tolist()], device=inputs.device)


def draw_tokens(batch: int, length: int, size: int, generator: torch.Generator | None) -> Int[Tensor, "batch time"]:
    """Return tokens below ``size``, all equally likely."""
    return torch.randint(size, (batch, length), generator=generator)
