"""What happens at a stream that cannot be used: the first one is raised, or each is reported and left out."""

from collections.abc import Callable
from typing import NoReturn, TypeAlias

from mnemic_core.errors import UserError

OnProblem: TypeAlias = Callable[[UserError], object]  # gets one line for each; a list's `append` collects them


def raise_problem(error: UserError) -> NoReturn:
    """Raise the first problem."""
    raise error
