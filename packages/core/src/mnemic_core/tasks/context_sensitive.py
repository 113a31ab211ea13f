"""The seven tasks that need a tape as long as the input (Delétang et al. 2023, arXiv:2207.02098, appendix A)."""

import math
import random
from abc import abstractmethod

import torch
from jaxtyping import Int
from torch import Tensor

from mnemic_core.tasks.task import END, AlgorithmicTask, RowTask, SymbolTask, draw_tokens


class DuplicateString(SymbolTask):
    """The string twice.

    Args:
        symbols: number of symbols; 2 in the paper.

    Example:
        >>> DuplicateString().solve(torch.tensor([[0, 1]])).tolist()
        [[0, 1, 0, 1]]
    """

    name = "duplicate_string"
    level = "cs"

    def output_length(self, length: int) -> int:
        """Return twice the length of the input."""
        return 2 * length

    def solve(self, inputs: Int[Tensor, "batch time"]) -> Int[Tensor, "batch output"]:
        """Return the string twice."""
        return inputs.long().repeat(1, 2)


class MissingDuplicateString(AlgorithmicTask):
    """A string of bits twice, with one bit replaced by the token 2: which bit is it?

    An odd length ends with the token 3. An input of one token is 1 with the answer 1, as in the official code.

    Example:
        >>> MissingDuplicateString().solve(torch.tensor([[0, 1, 2, 0, 1, 0, 3]])).tolist()
        [[0]]
    """

    name = "missing_duplicate_string"
    level = "cs"
    input_size = 4

    def draw(self, batch: int, length: int, generator: torch.Generator | None) -> Int[Tensor, "batch time"]:
        """Return strings twice with a random bit missing."""
        if length == 1:
            return torch.ones(batch, 1, dtype=torch.long)
        inputs = draw_tokens(batch, length // 2, 2, generator).repeat(1, 2)
        missing = draw_tokens(batch, 1, inputs.shape[1], generator)
        filling = inputs.new_full((batch, length % 2), 3)  # an odd length has no second half
        return torch.cat([inputs.scatter(1, missing, 2), filling], dim=1)

    def solve(self, inputs: Int[Tensor, "batch time"]) -> Int[Tensor, "batch output"]:
        """Return the missing bit from the other copy."""
        if inputs.shape[1] == 1:
            return torch.ones_like(inputs, dtype=torch.long)
        first, second = inputs.long()[:, : inputs.shape[1] // 2 * 2].chunk(2, dim=1)
        return (second * (first == 2) + first * (second == 2)).sum(1, keepdim=True)


class OddsFirst(SymbolTask):
    """The symbols at odd indices, then those at even indices, counted from 0 as in the paper's code.

    Args:
        symbols: number of symbols; 2 in the paper.

    Example:
        >>> OddsFirst(symbols=6).solve(torch.tensor([[0, 1, 2, 3, 4]])).tolist()
        [[1, 3, 0, 2, 4]]
    """

    name = "odds_first"
    level = "cs"

    def solve(self, inputs: Int[Tensor, "batch time"]) -> Int[Tensor, "batch output"]:
        """Return the symbols in their new order."""
        return torch.cat([inputs[:, 1::2], inputs[:, ::2]], dim=1).long()


class BucketSort(SymbolTask):
    """The symbols in rising order.

    Args:
        symbols: number of symbols; 5 in the paper.

    Example:
        >>> BucketSort().solve(torch.tensor([[3, 0, 4, 0]])).tolist()
        [[0, 0, 3, 4]]
    """

    name = "bucket_sort"
    level = "cs"

    def __init__(self, symbols: int = 5) -> None:
        super().__init__(symbols)

    def solve(self, inputs: Int[Tensor, "batch time"]) -> Int[Tensor, "batch output"]:
        """Return the symbols in order."""
        return inputs.long().sort(dim=1).values


class _BinaryOperation(RowTask):
    """Two positive binary numbers, lowest bit first, with the token 2 between them and after the answer."""

    level = "cs"
    has_end = True
    input_size = 3
    output_size = 3

    @abstractmethod
    def answer(self, numbers: list[int], length: int) -> list[int]:
        """Return the bits of the answer, lowest first, up to the highest one."""

    def output_length(self, length: int) -> int:
        """Return the length of the input."""
        return length

    def draw_row(self, length: int, source: random.Random) -> list[int]:
        """Return two numbers of random lengths; below three tokens one number, never all ones."""
        if length <= 2:
            return _bits(source.randrange(2**length - 1), length)
        first = source.randint(1, length - 2)
        second = length - 1 - first
        left, right = (_bits(source.randint(1, 2**width - 1), width) for width in (first, second))
        return [*left, END, *right]

    def solve_row(self, row: list[int]) -> list[int]:
        """Return the answer, its end and zeros."""
        text = "".join(map(str, reversed(row)))
        answer = self.answer([int(number, 2) for number in text.split(str(END))], len(row))
        return [*answer, END, *[0] * (self.output_length(len(row)) - len(answer) - 1)]


class BinaryAddition(_BinaryOperation):
    """The sum of two numbers in binary, lowest bit first; the token 2 is the plus and the end of the answer.

    The answer to one or two tokens is the number in them, as in the official code.

    Example:
        >>> one_plus_three = [1, 2, 1, 1]
        >>> BinaryAddition().solve(torch.tensor([one_plus_three])).tolist()
        [[0, 0, 1, 2, 0]]
    """

    name = "binary_addition"

    def output_length(self, length: int) -> int:
        """Return the length of the input and one."""
        return length + 1

    def answer(self, numbers: list[int], length: int) -> list[int]:
        """Return the bits of the sum."""
        return _bits(sum(numbers), 1)


class BinaryMultiplication(_BinaryOperation):
    """The product of two numbers in binary, lowest bit first; the token 2 is the sign and the end of the answer.

    The answer to one or two tokens is empty or 0, as in the official code.

    Example:
        >>> three_times_three = [1, 1, 2, 1, 1]
        >>> BinaryMultiplication().solve(torch.tensor([three_times_three])).tolist()
        [[1, 0, 0, 1, 2]]
    """

    name = "binary_multiplication"

    def answer(self, numbers: list[int], length: int) -> list[int]:
        """Return the bits of the product."""
        return _bits(math.prod(numbers), 1) if length > 2 else [0] * (length - 1)


class ComputeSqrt(RowTask):
    """The square root of a number above 0, rounded down; both in binary, highest bit first.

    Example:
        >>> thirty_seven = [1, 0, 0, 1, 0, 1]
        >>> ComputeSqrt().solve(torch.tensor([thirty_seven])).tolist()
        [[1, 1, 0]]
    """

    name = "compute_sqrt"
    level = "cs"

    def output_length(self, length: int) -> int:
        """Return half the length of the input, rounded up."""
        return (length + 1) // 2

    def draw_row(self, length: int, source: random.Random) -> list[int]:
        """Return a number."""
        return _bits(source.randint(1, 2**length - 1), length)[::-1]

    def solve_row(self, row: list[int]) -> list[int]:
        """Return its root."""
        return _bits(math.isqrt(int("".join(map(str, row)), 2)), self.output_length(len(row)))[::-1]


def _bits(number: int, width: int) -> list[int]:
    """Return the bits of a number, lowest first, with zeros up to the width."""
    return [int(bit) for bit in reversed(f"{number:0{width}b}")]
