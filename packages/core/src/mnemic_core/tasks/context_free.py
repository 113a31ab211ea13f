"""The four tasks that a pushdown automaton solves (Delétang et al. 2023, arXiv:2207.02098, appendix A)."""

import random
from collections.abc import Iterable

from jaxtyping import Int
from torch import Tensor

from mnemic_core.errors import check_at_least
from mnemic_core.tasks.task import END, RowTask, SymbolTask


class ReverseString(SymbolTask):
    """The string from its end to its beginning.

    Args:
        symbols: number of symbols; 2 in the paper.

    Example:
        >>> import torch
        >>> ReverseString().solve(torch.tensor([[0, 1, 1]])).tolist()
        [[1, 1, 0]]
    """

    name = "reverse_string"
    level = "dcf"

    def solve(self, inputs: Int[Tensor, "batch time"]) -> Int[Tensor, "batch output"]:
        """Return the string backwards."""
        return inputs.long().flip(1)


class StackManipulation(RowTask):
    """A stack of bits, bottom first, then actions on it: what is the resulting stack, top first?

    Tokens 0 and 1 are the stack; 2 pops (nothing from an empty stack), 3 and 4 push 0 and 1. The answer ends with the
    token 2 and zeros up to one more than the length of the input.

    Example:
        >>> import torch
        >>> StackManipulation().solve(torch.tensor([[0, 1, 1, 4, 2, 2]])).tolist()
        [[1, 0, 2, 0, 0, 0, 0]]
    """

    name = "stack_manipulation"
    level = "dcf"
    has_end = True
    input_size = 5
    output_size = 3

    def output_length(self, length: int) -> int:
        """Return the length of the input and one for the end."""
        return length + 1

    def draw_row(self, length: int, source: random.Random) -> list[int]:
        """Return a stack of at least one bit and, if the length leaves room, at least one action."""
        height = source.randint(1, max(1, length - 1))
        return [source.randrange(2) for _ in range(height)] + [source.randint(2, 4) for _ in range(length - height)]

    def solve_row(self, row: list[int]) -> list[int]:
        """Return the stack that is left."""
        stack: list[int] = []
        for token in row:
            if token != 2:
                stack.append(token if token < 2 else token - 3)
            elif stack:
                stack.pop()
        return [*reversed(stack), END, *[0] * (len(row) - len(stack))]


class ModularArithmeticBrackets(RowTask):
    """What is the value of an expression with brackets, modulo ``modulus``?

    Every operation has its own brackets; a number may have a minus sign. Tokens below the modulus are numbers, then
    ``+``, ``-``, ``*``, ``(``, ``)`` and one that is never drawn, as in the official code.

    Args:
        modulus: numbers are below it; 5 in the paper.
        has_products: whether ``*`` occurs, as in the paper's experiments but not by default of the official class.

    Example:
        >>> import torch
        >>> two_minus_minus_three = [8, 2, 6, 6, 3, 9]
        >>> ModularArithmeticBrackets().solve(torch.tensor([two_minus_minus_three])).tolist()
        [[0]]
    """

    name = "modular_arithmetic_brackets"
    level = "dcf"

    def __init__(self, modulus: int = 5, *, has_products: bool = True) -> None:
        check_at_least(2, modulus=modulus)
        self.modulus = modulus
        self.operators = "+-*" if has_products else "+-"
        self.symbols = [*map(str, range(modulus)), "+", "-", "*", "(", ")"]
        self.input_size = modulus + 6
        self.output_size = modulus

    def draw_row(self, length: int, source: random.Random) -> list[int]:
        """Return an expression."""
        return [self.symbols.index(symbol) for symbol in _draw_expression(length, self.modulus, self.operators, source)]

    def solve_row(self, row: list[int]) -> list[int]:
        """Return the value of an expression."""
        return [_value((self.symbols[token] for token in row), self.modulus)]


class SolveEquation(RowTask):
    """For which x does an equation hold, modulo ``modulus``? One number of an expression is x, after ``=`` its value.

    The expression is one of :class:`ModularArithmeticBrackets` without products, so that there is exactly one x.
    Tokens below the modulus are numbers; then come ``+``, ``-``, ``(``, ``)``, ``x`` and ``=``. Shorter inputs than
    three tokens are zeros with the answer 0, as in the official code.

    Args:
        modulus: numbers are below it; 5 in the paper.

    Example:
        >>> import torch
        >>> three_plus_x_is_one = [7, 3, 5, 9, 8, 10, 1]
        >>> SolveEquation().solve(torch.tensor([three_plus_x_is_one])).tolist()
        [[3]]
    """

    name = "solve_equation"
    level = "dcf"

    def __init__(self, modulus: int = 5) -> None:
        check_at_least(2, modulus=modulus)
        self.modulus = modulus
        self.symbols = [*map(str, range(modulus)), "+", "-", "(", ")", "x", "="]
        self.input_size = modulus + 6
        self.output_size = modulus

    def draw_row(self, length: int, source: random.Random) -> list[int]:
        """Return an equation."""
        if length < 3:
            return [0] * length
        expression = _draw_expression(length - 2, self.modulus, "+-", source)
        value = _value(expression, self.modulus)
        # As in the official code: the next number after a random symbol, more likely after many signs.
        place = source.randrange(len(expression))
        while not expression[place].isdigit():
            place = (place + 1) % len(expression)
        equation = [*expression[:place], "x", *expression[place + 1 :], "=", str(value)]
        return [self.symbols.index(symbol) for symbol in equation]

    def solve_row(self, row: list[int]) -> list[int]:
        """Return x from two values of the expression, which is linear in it with a slope of 1 or -1."""
        if len(row) < 3:
            return [0]
        *expression, _, value = (self.symbols[token] for token in row)
        at_zero, at_one = (
            _value((x if symbol == "x" else symbol for symbol in expression), self.modulus) for x in ("0", "1")
        )
        return [(int(value) - at_zero) * (at_one - at_zero) % self.modulus]


def _draw_expression(length: int, modulus: int, operators: str, source: random.Random) -> list[str]:
    """Return the symbols of an expression; a stack of parts to draw, as their lengths, avoids recursion."""
    waiting: list[str | int] = [length]
    expression: list[str] = []
    while waiting:
        piece = waiting.pop()
        if isinstance(piece, str):
            expression.append(piece)
        elif piece <= 4:  # n, -n, (n) or (-n)
            number = str(source.randrange(modulus))
            expression += ["("] * (piece > 2) + ["-"] * (piece % 2 == 0) + [number] + [")"] * (piece > 2)
        else:
            left = source.randint(1, piece - 4)
            waiting += [")", piece - 3 - left, source.choice(operators), left, "("]
    return expression


def _value(expression: Iterable[str], modulus: int) -> int:
    """Return the value of a fully bracketed expression."""
    numbers: list[int] = []
    marks: list[str] = []  # open brackets, operators and signs that wait for a number
    is_number_next = True
    for symbol in expression:
        if symbol.isdigit():
            numbers.append(int(symbol))
        elif symbol == ")":
            _close(numbers, marks)
        else:
            marks.append("sign" if symbol == "-" and is_number_next else symbol)
            is_number_next = True
            continue
        is_number_next = False
        while marks and marks[-1] == "sign":
            marks.pop()
            numbers[-1] = -numbers[-1]
        numbers[-1] %= modulus
    (value,) = numbers
    return value


def _close(numbers: list[int], marks: list[str]) -> None:
    """Evaluate the operation in a pair of brackets, if any."""
    operator = marks.pop()
    if operator != "(":
        right = numbers.pop()
        numbers[-1] = _apply(operator, numbers[-1], right)
        marks.pop()


def _apply(operator: str, left: int, right: int) -> int:
    if operator == "*":
        return left * right
    return left + right if operator == "+" else left - right
