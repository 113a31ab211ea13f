"""Exact top-k over more keys than fit into a cache: of most groups of keys only the largest score is ever looked at."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

GROUP = 32
"""Keys of which only the largest score is kept at first, at most."""

BLOCK_SCORES = 1 << 19
"""Scores that are held at a time: 2 MiB, so that they are still in the cache when groups are made of them."""

_QUERIES = 1024
_SPAN_GROUPS = 1 << 22
_BUNDLES = 8  # for each key to find, at least: with so many the best keys are mostly in different ones
_RESCORED = 1 << 20


class Rescore(NamedTuple):
    """How to correct the scores of a scan in low precision.

    Attributes:
        exact: returns the true scores of some rows for each of some queries: query numbers ``[pair]`` and rows
            ``[pair member]`` give ``[pair member]``.
        error: how far a scanned score can lie from the true one, for each query.
    """

    exact: Callable[[Tensor, Tensor], Tensor]
    error: Tensor


class RunningTopK:
    """The best ``k`` rows of each query among all that were offered; of equal scores the row offered first stays.

    Offers are collected and sorted together once they are twice as many as what is held, so the threshold may lag
    behind; it never passes over a row that belongs to the best.
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

    def floor(self, least: Tensor) -> Tensor:
        """Return the least score that may enter, for each query: above the threshold, from ``least`` on, and finite."""
        above = torch.nextafter(self.threshold, self.threshold.new_full((), torch.inf))  # of -inf the least finite one
        return torch.maximum(above, least)

    def offer(self, query: Tensor, row: Tensor, score: Tensor) -> None:
        """Take note of scored rows; for each query they must come in ascending order and after those before."""
        self._offers.append((query, row, score))
        self._num_offers += len(query)
        if self._num_offers >= 2 * self.scores.numel():
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

    A scan makes the scores of one block at a time, in a buffer that stays in the cache, and keeps the largest score of
    every group of keys. The ``k``-th largest of the maxima of bundles of groups is reached by ``k`` keys, so only
    groups that come up to it can hold one of the best. They are little more than ``k`` of many thousand; their keys
    are scored once more and sorted.

    Args:
        query: what to look for, ``[query dim]``; :func:`queries_at_a_time` says how many.
        keys: what to look through, ``[key dim]``, in the type of the queries.
        rows: the keys to compare, ascending; None for all.
        k: number to find, at most the number of keys that are compared.
        rescore: corrects the scores if the scan's are not the true ones.
    """
    best = RunningTopK(len(query), k, query.device)
    number = len(keys) if rows is None else len(rows)
    group = _group_size(number, k)
    span = max(_SPAN_GROUPS // max(len(query), 1), 1) * group
    members = torch.arange(group, device=keys.device)
    for start in range(0, number, span):
        places = range(start, min(start + span, number))
        largest, entry = _scan(query, keys, rows, places, group)
        true = rescore or _own_scores(query, keys, entry)
        least, candidates = _candidates(largest, k, true.error)
        for some in candidates.split(max(_RESCORED // (group * query.shape[1]), 1)):
            # Rows come after those found before, to which they lose if their scores are equal.
            index, which = some[largest[tuple(some.T)] > (best.threshold - true.error)[some[:, 1]]].T
            row = start + index[:, None] * group + members
            beyond = row >= places.stop  # the last group need not be full
            row.clamp_(max=places[-1])
            row = row if rows is None else rows[row]
            score = true.exact(which, row).masked_fill_(beyond, -torch.inf)
            pair, member = (score >= best.floor(least)[which, None]).nonzero(as_tuple=True)
            best.offer(which[pair], row[pair, member], score[pair, member])
        best.settle()
    return best.scores, best.rows


def queries_at_a_time(k: int) -> int:
    """Return how many queries :func:`search` should be given at a time."""
    return max(min(_QUERIES, BLOCK_SCORES // k), 1)


def _group_size(number: int, k: int) -> int:
    """Return a power of two with which groups are few, and so are the keys in the best ``k`` of them."""
    return min(GROUP, 1 << max((number // k).bit_length() // 2 - 2, 0))


def _scan(query: Tensor, keys: Tensor, rows: Tensor | None, places: range, group: int) -> tuple[Tensor, Tensor]:
    """Return the largest score of every group, ``[group query]``, and what no key's entry exceeds in size.

    The last group need not be full.
    """
    columns, size = query.T.contiguous(), max(BLOCK_SCORES // max(len(query), 1) // group, 1) * group
    size = min(size, -(-len(places) // group) * group)
    buffer = query.new_empty(size, len(query))
    groups = buffer.unflatten(0, (-1, group))
    largest = query.new_empty(-(-len(places) // group), len(query))
    chosen = (keys if rows is None else rows)[places.start : places.stop].split(size)
    extremes: list[Tensor] = []
    for some, parts in zip(chosen, largest.split(size // group), strict=True):
        block = some if rows is None else keys[some]
        if len(block) < size:
            buffer[len(block) :] = -torch.inf
        torch.mm(block, columns, out=buffer[: len(block)])
        torch.amax(groups[: len(parts)], 1, out=parts)
        extremes += torch.aminmax(block)
    return largest, torch.stack(extremes).abs().amax()


def _candidates(largest: Tensor, k: int, error: Tensor) -> tuple[Tensor, Tensor]:
    """Return a score that the best ``k`` keys of each query reach, and the groups that may hold one of them.

    Looking for the ``k``-th largest among all groups would take longer than making them, so groups are bundled. The
    groups of a bundle lie far apart: keys that are alike are often neighbours, and many of the best in one bundle would
    make the ``k``-th best bundle a bad one.

    Args:
        largest: the largest scanned score of every group, ``[group query]``.
        k: number of keys to find.
        error: how far a scanned score can lie from the true one, for each query.

    Returns:
        The true score, for each query, and pairs of a group and a query, ``[pair 2]``, by group.
    """
    bundle = 1 << max((len(largest) // (_BUNDLES * k)).bit_length() - 1, 0)
    missing = -len(largest) % bundle
    whole = F.pad(largest, (0, 0, 0, missing), value=-torch.inf) if missing else largest  # padding by none copies too
    bundled = whole.unflatten(0, (bundle, -1))
    tops = bundled.amax(0)
    if len(tops) < k:
        least = tops.new_full(tops.shape[1:], -torch.inf, dtype=torch.float32)
    else:
        least = tops.T.float().topk(k).values[:, -1] - error
    place, which = (tops >= least - error).nonzero(as_tuple=True)
    member, pair = (bundled[:, place, which] >= (least - error)[which]).nonzero(as_tuple=True)
    return least, torch.stack([member * len(tops) + place[pair], which[pair]], 1)


def _own_scores(query: Tensor, keys: Tensor, entry: Tensor) -> Rescore:
    """Return how to score keys once more where the scan had the precision of the keys.

    Both sum ``dim`` products, in another order, and each is off by at most ``dim eps / 2`` times both lengths; that of
    a key is at most ``sqrt(dim)`` times its largest entry.
    """
    dim, eps = query.shape[1], torch.finfo(query.dtype).eps
    error = (dim + 4) * eps * dim**0.5 * query.norm(dim=1) * entry
    return Rescore(lambda which, row: inner_products(query[which], keys, row), error)


def inner_products(query: Tensor, keys: Tensor, rows: Tensor) -> Tensor:
    """Return the products of queries ``[query dim]`` with the keys in some rows each, ``[query member]``.

    Equal keys have equal products wherever they are, which is more than a matrix product promises.
    """
    return F.embedding(rows, keys).mul_(query[:, None]).sum(-1)
