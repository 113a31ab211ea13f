"""Sequences in pieces."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from mnemic_core.errors import check_at_least

Item = TypeVar("Item")


def batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Return consecutive pieces of a sequence, of which the last may be shorter.

    Example:
        >>> [*batches("abcde", 2)]
        ['ab', 'cd', 'e']
    """
    check_at_least(1, batch_size=size)
    return (items[start : start + size] for start in range(0, len(items), size))
