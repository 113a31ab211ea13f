"""Exact top-k over many keys, which looks at the scores of few groups of keys."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

GROUP = 32
"""Largest number of keys in a group, of which the largest score is compared first."""

SPAN_BYTES = 1 << 25
"""Of the scores that are held at a time; the allocator of glibc keeps what is not larger."""

BLOCK_ROWS = 1 << 16
"""Keys of one product: enough that calls cost nothing, few enough that a copy of them is small."""

_QUERIES = 1024
_SCORES_KEPT = 1 << 19  # of all queries of a search
_BUNDLES = 8  # least number for each key to find, so that the best keys are mostly in different ones
_FEW = 1 << 13  # groups of all queries that are compared at once
_RESCORED = 1 << 20
_LOWEST = torch.finfo(torch.float32).min


class Rescore(NamedTuple):
    """Correction of the scores of an inexact scan.

    Attributes:
        exact: computes exact scores ``[pair]`` for query numbers and rows, both ``[pair]``.
        error: largest error of a scanned score, for each query,
        relative: and its part that is proportional to the scanned score.
    """

    exact: Callable[[Tensor, Tensor], Tensor]
    error: Tensor
    relative: float = 0.0

    def least(self, scanned: Tensor) -> Tensor:
        """Return the smallest exact score that a scanned one, for each query, may have."""
        least = scanned - self.error
        return least - self.relative * scanned.abs() if self.relative else least

    def cutoff(self, exact: Tensor) -> Tensor:
        """Return the smallest scanned score that an exact one, for each query, may have."""
        below = exact - self.error
        return below / (1 + below.sign() * self.relative) if self.relative else below


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
        if num_queries == 1:
            self._settle_one(k)
            return
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

    def _settle_one(self, k: int) -> None:
        """Merge the offers for a single query, which needs a fifth of the calls."""
        rows, scores = (torch.cat(parts) for parts in list(zip(*self._offers, strict=True))[1:])
        rows, scores = torch.cat([self.rows[0], rows]), torch.cat([self.scores[0], scores])
        best = scores.sort(descending=True, stable=True).indices[:k]
        self.scores, self.rows = scores[best][None], rows[best][None]
        self._offers, self._num_offers = [], 0


def search(query: Tensor, keys: Tensor, rows: Tensor | None, k: int, rescore: Rescore) -> tuple[Tensor, Tensor]:
    """Return the scores, best first, and the rows of the ``k`` keys with the largest inner products.

    A scan computes all scores of a span of keys, and the largest of every group of them. At least ``k`` keys reach the
    ``k``-th largest of the maxima of bundles of groups, so only groups that reach it can contain one of the best: few
    of many thousand, whose scores are looked at one by one. What remains is scored again and sorted.

    Args:
        query: ``[query dim]``, at most :func:`queries_at_a_time`.
        keys: ``[key dim]``, in the type of the queries.
        rows: the keys to compare, ascending; None for all.
        k: at most the number of keys compared.
        rescore: exact scores, and the error of scanned ones, see `own_scores`.
    """
    best = RunningTopK(len(query), k, query.device)
    number = len(keys) if rows is None else len(rows)
    group, held = _group_size(number, k), SPAN_BYTES // query.itemsize
    span = group * min(max(held // max(len(query), 1) // group, 1), -(-number // group))
    buffer, columns = query.new_empty(span, len(query)), query.T.contiguous()
    step = max(_RESCORED // query.shape[1], 1)
    for start in range(0, number, span):
        stop = min(start + span, number)
        scores = _scan(columns, keys, rows, range(start, stop), buffer[: -(-(stop - start) // group) * group])
        least, place, which = _candidates(scores.unflatten(0, (-1, group)), k, best.threshold, rescore)
        row = place + start if rows is None else rows[place + start]
        floor = best.floor(least)
        for some, query_number in zip(row.split(step), which.split(step), strict=True):
            score = rescore.exact(query_number, some)
            (enters,) = (score >= floor[query_number]).nonzero(as_tuple=True)
            best.offer(query_number[enters], some[enters], score[enters])
        best.settle()
    return best.scores, best.rows


def queries_at_a_time(k: int) -> int:
    """Return the best number of queries for one :func:`search`."""
    return max(min(_QUERIES, _SCORES_KEPT // k), 1)


def _group_size(number: int, k: int) -> int:
    """Return a power of two that balances the number of groups and of keys in the best ``k`` of them."""
    return min(GROUP, 1 << max((number // k).bit_length() // 2 - 2, 0))


def _scan(columns: Tensor, keys: Tensor, rows: Tensor | None, places: range, scores: Tensor) -> Tensor:
    """Fill ``scores`` ``[place query]`` with those of the keys at some places, and -inf behind them, and return it."""
    # A single product is the fastest for one query; for more, and for chosen keys, which are copied, blocks are.
    step = len(scores) if rows is None and columns.shape[1] == 1 else BLOCK_ROWS
    chosen = (keys if rows is None else rows)[places.start : places.stop].split(step)
    for some, part in zip(chosen, scores.split(step), strict=False):
        torch.mm(some if rows is None else keys[some], columns, out=part[: len(some)])
    scores[len(places) :] = -torch.inf
    return scores


def _candidates(groups: Tensor, k: int, threshold: Tensor, rescore: Rescore) -> tuple[Tensor, Tensor, Tensor]:
    """Return an exact score that the best ``k`` keys of each query reach, and the keys that may do so.

    Args:
        groups: scanned scores, ``[group member query]``.
        k: number of keys to find.
        threshold: exact score that is reached already, for each query.
        rescore: correction of the scores.

    Returns:
        The score for each query, and place and query of each candidate, by place.
    """
    # Numbers of bfloat16 that are not negative are ordered as their bits are, whose maxima take a quarter of the time.
    # Among negative numbers the order is reversed: such maxima are too small, which matters if negative scores do.
    kinds = [torch.int16, torch.bfloat16] if groups.dtype == torch.bfloat16 else [groups.dtype]
    for kind in kinds:
        largest = groups.view(kind).amax(1).view(groups.dtype)
        tops, bundled = _bundles(largest, k, kind)
        least = threshold
        if len(tops) >= k:
            least = torch.maximum(least, rescore.least(tops.T.float().topk(k).values[:, -1]))
        cutoff = rescore.cutoff(least).clamp(min=_LOWEST)  # not reached by what fills the last group
        if kind == kinds[-1] or bool((cutoff > 0).all()):
            break
    place, which = (tops >= cutoff).nonzero(as_tuple=True)
    bundle, pair = (bundled[:, place, which] >= cutoff[which]).nonzero(as_tuple=True)
    group, which = bundle * len(tops) + place[pair], which[pair]
    pair, member = (groups[group, :, which] >= cutoff[which, None]).nonzero(as_tuple=True)
    return least, group[pair] * groups.shape[1] + member, which[pair]


def _bundles(largest: Tensor, k: int, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the largest score of bundles of groups, ``[top query]``, and the bundles, ``[member top query]``.

    A top-k over all groups would take longer than the scan. Groups of a bundle are far apart, since similar keys are
    often adjacent, and many of the best keys in one bundle would loosen the bound.

    Args:
        largest: of every group, ``[group query]``.
        k: number of keys to find.
        kind: as which their bits are compared.
    """
    bundle = 1 << max((len(largest) // (_BUNDLES * k)).bit_length() - 1, 0)
    if bundle == 1 or largest.numel() <= _FEW:
        return largest, largest[None]
    missing = -len(largest) % bundle
    padded = F.pad(largest, (0, 0, 0, missing), value=-torch.inf) if missing else largest  # padding by 0 copies as well
    bundled = padded.unflatten(0, (bundle, -1))
    return bundled.view(kind).amax(0).view(largest.dtype), bundled


def own_scores(query: Tensor, keys: Tensor, longest: Tensor) -> Rescore:
    """Return the rescoring of a scan in the precision of the keys, the longest of which has the length ``longest``.

    Both sum ``dim`` products in different orders, each with an error of at most ``dim eps / 2`` times both lengths.
    """
    error = (query.shape[1] + 4) * torch.finfo(query.dtype).eps * query.norm(dim=1) * longest
    return Rescore(lambda which, row: inner_products(query.index_select(0, which), keys, row), error)


def inner_products(query: Tensor, keys: Tensor, rows: Tensor) -> Tensor:
    """Return the products of queries ``[pair dim]`` with the keys of rows ``[pair]``.

    Unlike with a matrix product, equal keys have equal products wherever they are.
    """
    return keys.index_select(0, rows).mul_(query).sum(-1)  # a fifth of the time of keys[rows]
