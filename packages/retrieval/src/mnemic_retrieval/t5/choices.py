"""Outputs that are limited to given ones."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor


class Choices:
    """The outputs that each row of a batch may write, as a tree of their tokens.

    Args:
        rows: token sequences, without an end, for each row; a row without any may write everything.
        end_id: token that ends an output.

    Example:
        >>> choices = Choices([[[5, 6], [5, 7]], []], end_id=1)
        >>> choices.allowed([torch.tensor([5, 3])], vocab_size=8)[0].nonzero().flatten()
        tensor([6, 7])
    """

    def __init__(self, rows: Sequence[Iterable[Sequence[int]]], end_id: int) -> None:
        self._roots = [_tree(row, end_id) for row in rows]
        self._end_id = end_id

    def allowed(self, written: Sequence[Int[Tensor, " batch"]], vocab_size: int) -> Bool[Tensor, "batch vocab"]:
        """Return which tokens may follow.

        Args:
            written: the tokens so far, one tensor for each place.
            vocab_size: number of tokens.
        """
        mask = torch.zeros(len(self._roots), vocab_size, dtype=torch.bool)
        rows = torch.stack([*written], 1).tolist() if written else [[] for _ in self._roots]
        for place, (root, row) in enumerate(zip(self._roots, rows, strict=True)):
            if not root:
                mask[place] = True
                continue
            node: dict[int, Any] = root
            for token in row:
                node = node.get(token, {})
            mask[place, [*node] or [self._end_id]] = True
        return mask


def _tree(choices: Iterable[Sequence[int]], end_id: int) -> dict[int, Any]:
    root: dict[int, Any] = {}
    for choice in choices:
        node = root
        for token in [*choice, end_id]:
            node = node.setdefault(token, {})
    return root
