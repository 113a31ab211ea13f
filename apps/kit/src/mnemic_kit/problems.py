"""Problems of single inputs, collected while the others are processed and shown at the end."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mnemic_core.errors import UserError
from mnemic_kit.cli import USER_ERROR


class Problems:
    """The problems of a command with several inputs.

    Args:
        found: problems that are known already.

    Attributes:
        found: all problems so far.
        num_done: inputs without a problem.
    """

    def __init__(self, found: Sequence[Exception] = ()) -> None:
        self.found: list[Exception] = list(found)
        self.num_done = 0

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Work on an input in the block; a mistake of the user ends the block only."""
        try:
            yield
        except (UserError, OSError) as error:
            self.found.append(error)
        else:
            self.num_done += 1

    def show(self, prefix: str) -> None:
        """Write one line for each problem to standard error."""
        sys.stderr.write("".join(f"{prefix}: {' '.join(str(problem).split())}\n" for problem in self.found))

    def end(self, prefix: str) -> None:
        """End the command with an error if there was a problem; a single input with one is the error itself."""
        if len(self.found) == 1 and not self.num_done:
            raise self.found[0]
        self.show(prefix)
        self.exit_on_any()

    def exit_on_any(self) -> None:
        """Exit with the code of a mistake if there was one."""
        if self.found:
            sys.exit(USER_ERROR)
