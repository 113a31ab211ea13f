"""Exact top-k over many keys, which reads only the largest score of most groups of keys."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

GROUP = 32
"""Largest number of keys in a group, of which the scan keeps only the largest score."""

BLOCK_SCORES = 1 << 19
"""Scores per block: 2 MiB, so that they are still in the cache when group maxima are taken."""

_QUERIES = 1024
_SPAN_GROUPS = 1 << 22
_BUNDLES = 8  # least number for each key to find, so that the best keys are mostly in different ones
_RESCORED = 1 << 20


class Rescore(NamedTuple):
    """Correction of the scores of an inexact scan.

    Attributes:
        exact: computes exact scores ``[pair member]`` for query numbers ``[pair]`` and rows ``[pair member]``.
        error: largest error of a scanned score, for each query.
    """

    exact: Callable[[Tensor, Tensor], Tensor]
    error: Tensor


class RunningTopK:
    """The best ``k`` rows of each query among all offered ones; of equal scores the row offered first.

    Offers are sorted once there are twice as many as are held, so the threshold may be outdated, but never too high.
    """

    def __init__(self, num_queries: int, k: int, device: torch.device) -> None:
        self.scores = torch.full((num_queries, k), -torch.inf, device=device)
        self.rows = torch.full((num_queries, k), -1, device=device)
        self._offers: list[tuple[Tensor, Tensor, Tensor]] = []
        self._num_offers = 0

    @property
    def threshold(self) -> Tensor:
        """Score that a row must exceed, for each query."""
        return self.scores[:, -1]

    def floor(self, least: Tensor) -> Tensor:
        """Return the least score that may enter, for each query: finite, above the threshold, at least ``least``."""
        above = torch.nextafter(self.threshold, self.threshold.new_full((), torch.inf))  # finite after -inf
        return torch.maximum(above, least)

    def offer(self, query: Tensor, row: Tensor, score: Tensor) -> None:
        """Add scored rows, which must be ascending for each query, also over calls."""
        self._offers.append((query, row, score))
        self._num_offers += len(query)
        if self._num_offers >= 2 * self.scores.numel():
            self.settle()

    def settle(self) -> None:
        """Merge the offers into the best rows."""
        if not self._offers:
            return
        num_queries, k = self.scores.shape
        held = torch.arange(num_queries, device=self.rows.device).repeat_interleave(k)
        query, row, score = (
            torch.cat(parts)
            for parts in zip((held, self.rows.flatten(), self.scores.flatten()), *self._offers, strict=True)
        )
        # Two stable sorts, by score and then by query, order equal scores by arrival.
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

    A scan computes the scores of one block at a time, in a buffer that stays in the cache, and keeps the largest score
    of every group of keys. At least ``k`` keys reach the ``k``-th largest of the maxima of bundles of groups, so only
    groups that reach it can contain one of the best: little more than ``k`` of many thousand, whose keys are scored
    again and sorted.

    Args:
        query: ``[query dim]``, at most :func:`queries_at_a_time`.
        keys: ``[key dim]``, in the type of the queries.
        rows: the keys to compare, ascending; None for all.
        k: at most the number of keys compared.
        rescore: correction of an inexact scan.
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
            # Rows are later than those found before, which win at equal scores.
            index, which = some[largest[tuple(some.T)] > (best.threshold - true.error)[some[:, 1]]].T
            row = start + index[:, None] * group + members
            beyond = row >= places.stop  # the last group may be incomplete
            row.clamp_(max=places[-1])
            row = row if rows is None else rows[row]
            score = true.exact(which, row).masked_fill_(beyond, -torch.inf)
            pair, member = (score >= best.floor(least)[which, None]).nonzero(as_tuple=True)
            best.offer(which[pair], row[pair, member], score[pair, member])
        best.settle()
    return best.scores, best.rows


def queries_at_a_time(k: int) -> int:
    """Return the best number of queries for one :func:`search`."""
    return max(min(_QUERIES, BLOCK_SCORES // k), 1)


def _group_size(number: int, k: int) -> int:
    """Return a power of two that balances the number of groups and of keys in the best ``k`` of them."""
    return min(GROUP, 1 << max((number // k).bit_length() // 2 - 2, 0))


def _scan(query: Tensor, keys: Tensor, rows: Tensor | None, places: range, group: int) -> tuple[Tensor, Tensor]:
    """Return the largest score of every group, ``[group query]``, and the largest magnitude of all keys' entries."""
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
    """Return an exact score that the best ``k`` keys of each query reach, and the groups that may contain them.

    A top-k over all groups would take longer than the scan, so groups are bundled. Groups of a bundle are far apart,
    since similar keys are often adjacent, and many of the best keys in one bundle would loosen the bound.

    Args:
        largest: the largest scanned score of every group, ``[group query]``.
        k: number of keys to find.
        error: largest error of a scanned score, for each query.

    Returns:
        The score for each query, and pairs of a group and a query, ``[pair 2]``, by group.
    """
    bundle = 1 << max((len(largest) // (_BUNDLES * k)).bit_length() - 1, 0)
    missing = -len(largest) % bundle
    padded = F.pad(largest, (0, 0, 0, missing), value=-torch.inf) if missing else largest  # padding by 0 copies as well
    bundled = padded.unflatten(0, (bundle, -1))
    tops = bundled.amax(0)
    if len(tops) < k:
        least = tops.new_full(tops.shape[1:], -torch.inf, dtype=torch.float32)
    else:
        least = tops.T.float().topk(k).values[:, -1] - error
    place, which = (tops >= least - error).nonzero(as_tuple=True)
    member, pair = (bundled[:, place, which] >= (least - error)[which]).nonzero(as_tuple=True)
    return least, torch.stack([member * len(tops) + place[pair], which[pair]], 1)


def _own_scores(query: Tensor, keys: Tensor, entry: Tensor) -> Rescore:
    """Return the rescoring of a scan in the precision of the keys.

    Both sum ``dim`` products in different orders, each with an error of at most ``dim eps / 2`` times both lengths;
    that of a key is at most ``sqrt(dim)`` times its largest entry.
    """
    dim, eps = query.shape[1], torch.finfo(query.dtype).eps
    error = (dim + 4) * eps * dim**0.5 * query.norm(dim=1) * entry
    return Rescore(lambda which, row: inner_products(query[which], keys, row), error)


def inner_products(query: Tensor, keys: Tensor, rows: Tensor) -> Tensor:
    """Return the products of queries ``[query dim]`` with keys in rows ``[query member]``.

    Unlike with a matrix product, equal keys have equal products wherever they are.
    """
    return F.embedding(rows, keys).mul_(query[:, None]).sum(-1)
