"""The four tasks that a finite automaton solves (Delétang et al. 2023, arXiv:2207.02098, appendix A)."""

import torch
from jaxtyping import Int
from torch import Tensor

from mnemic_core.errors import check_at_least
from mnemic_core.tasks.task import AlgorithmicTask, StringTask, draw_tokens


class EvenPairs(StringTask):
    """Is the number of unequal adjacent bits odd (1) or even (0)? Equivalently: do the first and last bit differ?

    Example:
        >>> EvenPairs().solve(torch.tensor([[0, 0, 1, 1, 1, 0], [0, 1, 0, 1, 0, 1]])).tolist()
        [[0], [1]]
    """

    name = "even_pairs"
    level = "regular"

    def solve(self, inputs: Int[Tensor, "batch time"]) -> Int[Tensor, "batch output"]:
        """Return 1 where the number of unequal adjacent bits is odd."""
        return (inputs[:, :1] != inputs[:, -1:]).long()


class ParityCheck(StringTask):
    """Is the number of ones odd (1) or even (0)?

    Example:
        >>> ParityCheck().solve(torch.tensor([[1, 0, 1, 1]])).tolist()
        [[1]]
    """

    name = "parity_check"
    level = "regular"

    def solve(self, inputs: Int[Tensor, "batch time"]) -> Int[Tensor, "batch output"]:
        """Return the sum of the bits modulo 2."""
        return inputs.long().sum(1, keepdim=True) % 2


class CycleNavigation(StringTask):
    """What is the final position on a cycle of length 5? Tokens 0, 1 and 2 move by -1, 0 and 1.

    Example:
        >>> CycleNavigation().solve(torch.tensor([[2, 0, 1, 0, 0]])).tolist()
        [[3]]
    """

    name = "cycle_navigation"
    level = "regular"
    input_size = 3
    output_size = 5

    def solve(self, inputs: Int[Tensor, "batch time"]) -> Int[Tensor, "batch output"]:
        """Return the final position."""
        return (inputs.long() - 1).sum(1, keepdim=True) % self.output_size


class ModularArithmetic(AlgorithmicTask):
    """What is the value of an expression without brackets, modulo ``modulus``? A product goes before a sum.

    Tokens below the modulus are numbers; then come ``+``, ``-``, ``*``, and one that is never drawn (a blank in the
    official code). Even lengths are shortened by 1, as in the official code.

    Args:
        modulus: numbers are below it; 5 in the paper.

    Example:
        >>> one_plus_two_times_three = [1, 5, 2, 7, 3]
        >>> ModularArithmetic().solve(torch.tensor([one_plus_two_times_three])).tolist()
        [[2]]
    """

    name = "modular_arithmetic"
    level = "regular"

    def __init__(self, modulus: int = 5) -> None:
        check_at_least(2, modulus=modulus)
        self.modulus = modulus
        self.input_size = modulus + 4
        self.output_size = modulus

    def draw(self, batch: int, length: int, generator: torch.Generator | None) -> Int[Tensor, "batch time"]:
        """Return random numbers with random operators between them."""
        operators = length // 2 if length % 2 else length // 2 - 1
        inputs = draw_tokens(batch, 2 * operators + 1, self.modulus, generator)
        inputs[:, 1::2] = self.modulus + draw_tokens(batch, operators, 3, generator)
        return inputs

    def solve(self, inputs: Int[Tensor, "batch time"]) -> Int[Tensor, "batch output"]:
        """Return the value, computed from left to right with the last term open for products."""
        numbers, operators = inputs[:, ::2].long(), inputs[:, 1::2] - self.modulus
        total, term = torch.zeros_like(numbers[:, 0]), numbers[:, 0]
        for index in range(operators.shape[1]):
            operator, number = operators[:, index], numbers[:, index + 1]
            is_product = operator == 2
            total = torch.where(is_product, total, total + term)
            signed = torch.where(operator == 1, -number, number)
            # Reduced in every step: the official code multiplies int32 numbers first, where long products overflow.
            term = torch.where(is_product, term * number, signed) % self.modulus
        return ((total + term) % self.modulus)[:, None]
