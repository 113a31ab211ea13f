"""A call that looks like one that passed is not checked again, and any other is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
import torch
from beartype import beartype
from checked_calls import appearance, checked
from jaxtyping import Float, TypeCheckError
from torch import Tensor


@checked(typechecker=beartype)
def scale(
    x: Float[Tensor, "batch dim"], how: Literal["up", "down"], size: int | None = None
) -> Float[Tensor, "batch 2"]:
    return x[:, :2] if size is None else x[:, :size]


@checked(typechecker=beartype)
def join(parts: list[Float[Tensor, " dim"]], names: dict[str, int]) -> Float[Tensor, "part dim"]:
    return torch.stack(parts)


@checked(typechecker=beartype)
@dataclass(frozen=True)
class Pair:
    first: Float[Tensor, " dim"]
    second: Float[Tensor, " dim"]


def test_what_differs_from_a_call_that_passed_is_refused() -> None:
    x = torch.zeros(3, 4)
    for _ in range(2):
        assert scale(x, "up").shape == scale(x, "up", size=2).shape == (3, 2)
        for arguments in (
            (x[0], "up"),
            (x.long(), "up"),
            (x, "sideways"),
            (x, "up", 3),
            (x, "up", "2"),
            (x.numpy(), "up"),
        ):
            with pytest.raises(TypeCheckError):
                scale(*arguments)


def test_what_containers_and_dataclasses_hold_is_checked_in_each_call() -> None:
    row = torch.zeros(4)
    for _ in range(2):
        assert join([row, row], {"a": 1}).shape == (2, 4)
        assert Pair(row, row).first is row
        for call in (lambda: join([row[None]], {}), lambda: join([row], {"a": "b"}), lambda: Pair(row, row[:2])):
            with pytest.raises(TypeCheckError):
                call()


@pytest.mark.parametrize(
    "unknown",
    [{}, set(), np.zeros(2), [{}], [0] * 99, "x" * 99, [[[0]]], torch.zeros(2).as_subclass(type("Own", (Tensor,), {}))],
)
def test_what_is_long_or_of_no_known_appearance_cannot_be_hashed_and_so_is_checked_always(unknown: Any) -> None:
    with pytest.raises(TypeError):
        hash(appearance(unknown))


def test_a_function_called_with_ever_new_values_remembers_a_bounded_number() -> None:
    @checked(typechecker=beartype)
    def halve(number: int) -> int:
        return number // 2

    for number in range(3000):
        assert halve(number) == number // 2
    (passed,) = (cell.cell_contents for cell in halve.__closure__ if isinstance(cell.cell_contents, dict))
    assert len(passed) <= 1000


def test_a_result_is_checked_in_every_call_whose_result_looks_new() -> None:
    results: list[object] = [torch.zeros(1, 2), torch.zeros(3, 2), torch.zeros(1, 3), {}, "text", torch.zeros(1, 2)]
    calls = 0

    @checked(typechecker=beartype)
    def draw(x: "Float[Tensor, ' dim']") -> "Float[Tensor, 'some dim']":
        nonlocal calls
        calls += 1
        return results[calls - 1]

    outcomes = []
    for _ in results:
        try:
            outcomes.append(draw(torch.zeros(2)).shape)
        except TypeCheckError:
            outcomes.append(None)
    assert outcomes == [(1, 2), (3, 2), None, None, None, (1, 2)]
    assert calls == len(results)


def test_a_generator_and_a_name_that_is_defined_later_are_checked() -> None:
    assert list(numbers(3)) == [0, 1, 2]
    assert list(numbers(2)) == [0, 1]
    assert isinstance(later(1), Later)
    with pytest.raises(TypeCheckError):
        later(2)


@checked(typechecker=beartype)
def numbers(count: int) -> Iterator[int]:
    yield from range(count)


@checked(typechecker=beartype)
def later(count: int) -> "Later":
    return Later() if count == 1 else count


class Later:
    """Defined after the function that names it."""
