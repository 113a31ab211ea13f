"""A call that looks like one that passed is not checked again, and any other is."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
import torch
from checked_calls import appearance, checked
from jaxtyping import Float, TypeCheckError, jaxtyped
from torch import Tensor


@jaxtyped(typechecker=checked)
def scale(
    x: Float[Tensor, "batch dim"], how: Literal["up", "down"], size: int | None = None
) -> Float[Tensor, "batch 2"]:
    return x[:, :2] if size is None else x[:, :size]


@jaxtyped(typechecker=checked)
def join(parts: list[Float[Tensor, " dim"]], names: dict[str, int]) -> Float[Tensor, "part dim"]:
    return torch.stack(parts)


@jaxtyped(typechecker=checked)
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
    calls = checked(lambda number: None)
    for number in range(3000):
        calls(number)
    (passed,) = (cell.cell_contents for cell in calls.__closure__ if isinstance(cell.cell_contents, set))
    assert len(passed) <= 1000
