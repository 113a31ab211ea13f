"""Exact top-k over more keys than fit into a cache: most scores are only compared with a threshold, never sorted."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

GROUP = 32
"""Keys whose largest score is compared with the threshold before any of them is looked at."""

BLOCK_SCORES = 1 << 20
"""Scores that are held at a time: 4 MiB, so that they are still in the cache when they are compared."""

_QUERIES = 1024
_SEED_KEYS = 2048
_RESCORED = 1 << 16


class Rescore(NamedTuple):
    """How to correct the scores of a scan in low precision.

    Attributes:
        exact: returns the true scores of (query number, row) pairs.
        error: how far a scanned score can lie from the true one, for each query.
    """

    exact: Callable[[Tensor, Tensor], Tensor]
    error: Tensor


class RunningTopK:
    """The best ``k`` rows of each query among all that were offered; of equal scores the row offered first stays.

    Offers are collected and sorted together once they are as many as what is held, so the threshold may lag behind;
    it never passes over a row that belongs to the best.
    """

    def __init__(self, num_queries: int, k: int, device: torch.device) -> None:
        self.scores = torch.full((num_queries, k), -torch.inf, device=device)
        self.rows = torch.full((num_queries, k), -1, device=device)
        self._offers: list[tuple[Tensor, Tensor, Tensor]] = []
        self._num_offers = 0

    @property
    def threshold(self) -> Tensor:
        """Score that a row has to exceed, for each query."""
        return self.scores[:, -1]

    def offer(self, query: Tensor, row: Tensor, score: Tensor) -> None:
        """Take note of scored rows; for each query they must come in ascending order and after those before."""
        self._offers.append((query, row, score))
        self._num_offers += len(query)
        if self._num_offers >= self.scores.numel():
            self.settle()

    def settle(self) -> None:
        """Sort the offers into what is held."""
        if not self._offers:
            return
        num_queries, k = self.scores.shape
        held = torch.arange(num_queries, device=self.rows.device).repeat_interleave(k)
        query, row, score = (
            torch.cat(parts)
            for parts in zip((held, self.rows.flatten(), self.scores.flatten()), *self._offers, strict=True)
        )
        # By query, within it by score, within that in the order of arrival: two stable sorts, the last key first.
        order = score.sort(descending=True, stable=True).indices
        order = order[query[order].sort(stable=True).indices]
        number = query.bincount(minlength=num_queries)
        best = order[(number.cumsum(0) - number)[:, None] + torch.arange(k, device=order.device)]
        self.scores, self.rows = score[best], row[best]
        self._offers, self._num_offers = [], 0


def search(
    query: Tensor, keys: Tensor, rows: Tensor | None, k: int, rescore: Rescore | None = None
) -> tuple[Tensor, Tensor]:
    """Return the scores, best first, and the rows of the ``k`` keys with the largest inner products.

    Scores are made for one block at a time, in a buffer that stays in the cache. A pass over it finds the largest
    score of every group of keys; only the few groups that exceed the k-th best score so far are looked into. After n
    keys in random order the next one enters with probability k / n, so nearly all blocks end with that pass.

    Args:
        query: what to look for, ``[query dim]``; :func:`queries_at_a_time` says how many.
        keys: what to look through, ``[key dim]``, in the type of the queries.
        rows: the keys to compare, ascending; None for all.
        k: number to find, at most the number of keys that are compared.
        rescore: corrects the scores if the scan's are not the true ones.
    """
    best = RunningTopK(len(query), k, query.device)
    size = max(BLOCK_SCORES // max(len(query), 1), 2 * k)
    size = _whole_groups(min(len(keys) if rows is None else len(rows), size))
    seed = min(size, _whole_groups(max(_SEED_KEYS, 2 * k)))
    buffer, columns = query.new_empty(size, len(query)), query.T.contiguous()
    slack = 0 if rescore is None else rescore.error
    for index, (block, row) in enumerate(_blocks(keys, rows, seed, size)):
        scores = _scores(block, columns, buffer)
        floor = best.threshold - slack if index else _seed_floor(scores, k) - 2 * slack
        found, member = _exceeding(scores, floor)
        if len(found):
            _offer(best, found, row[member], scores[member, found], rescore)
    best.settle()
    return best.scores, best.rows


def queries_at_a_time(k: int) -> int:
    """Return how many queries :func:`search` should be given at a time."""
    return max(min(_QUERIES, BLOCK_SCORES // k), 1)


def _whole_groups(number: int) -> int:
    return -(-number // GROUP) * GROUP


def _blocks(keys: Tensor, rows: Tensor | None, seed: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the keys and their rows: one block of ``seed`` keys, the others of ``size``."""
    number = len(keys) if rows is None else len(rows)
    for start in (0, *range(seed, number, size)):
        stop = min(start + size if start else seed, number)
        if rows is None:
            yield keys[start:stop], torch.arange(start, stop, device=keys.device)
        else:
            yield keys[rows[start:stop]], rows[start:stop]


def _scores(keys: Tensor, columns: Tensor, buffer: Tensor) -> Tensor:
    """Fill the buffer with inner products ``[key query]``, up to a whole number of groups, and return that part."""
    rounded = _whole_groups(len(keys))
    torch.mm(keys, columns, out=buffer[: len(keys)])
    buffer[len(keys) : rounded] = -torch.inf
    return buffer[:rounded]


def _seed_floor(scores: Tensor, k: int) -> Tensor:
    """Return a number just below the k-th best score, so that scores equal to it still exceed it."""
    kth = scores.topk(k, dim=0).values[-1].float()
    return kth.nextafter(kth.new_tensor(-torch.inf))


def _exceeding(scores: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """Return query and key of all scores above the floor of their query, keys of a query in ascending order."""
    grouped = scores.view(len(scores) // GROUP, GROUP, scores.shape[1])
    group, query = (grouped.amax(1) > floor).nonzero(as_tuple=True)
    candidates = grouped.transpose(1, 2)[group, query]  # candidate GROUP
    candidate, member = (candidates > floor[query, None]).nonzero(as_tuple=True)
    return query[candidate], group[candidate] * GROUP + member


def _offer(best: RunningTopK, query: Tensor, row: Tensor, score: Tensor, rescore: Rescore | None) -> None:
    if rescore is None:
        best.offer(query, row, score)
        return
    for some_query, some_row in zip(query.split(_RESCORED), row.split(_RESCORED), strict=True):
        exact = rescore.exact(some_query, some_row)
        enters = exact > best.threshold[some_query]
        best.offer(some_query[enters], some_row[enters], exact[enters])
