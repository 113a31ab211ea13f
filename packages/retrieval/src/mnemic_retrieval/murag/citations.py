"""Which items an answer was read from, and which part of their pictures."""

from collections.abc import Sequence
from math import isqrt

from jaxtyping import Float
from torch import Tensor

from mnemic_retrieval.murag.answers import Citation, Region
from mnemic_retrieval.murag.reader import Reading
from mnemic_retrieval.store import Hit

_REGION = 0.5  # of the highest attention that a patch got


def cite(
    hits: Sequence[Hit], reading: Reading, attention: Float[Tensor, "batch place"], row: int, num_patches: int
) -> tuple[Citation, ...]:
    """Return the items of an answer in the order in which they were found.

    Args:
        hits: found items.
        reading: what was read.
        attention: to each place of it, from `Murag.attention`.
        row: of the question in the batch.
        num_patches: of a picture as it was read, behind the pool; 0 if its tokens have no places.
    """
    item, place = reading.item[row], reading.place_in_item[row]
    shares = [attention[row][item == number] for number in range(1, len(hits) + 1)]
    total = float(attention[row][item > 0].sum()) or 1.0
    citations = []
    for number, (hit, share) in enumerate(zip(hits, shares, strict=True), 1):
        patches = share[(place[item == number] >= 1) & (place[item == number] <= num_patches)]
        region = None if hit.item.image is None or not num_patches else region_of(patches)
        citations.append(Citation(hit.score, hit.item, float(share.sum()) / total, region))
    return tuple(citations)


def region_of(patches: Float[Tensor, " patch"]) -> Region | None:
    """Return the smallest part of a picture with all patches that got at least half of the highest attention.

    Args:
        patches: attention to the patches of a square picture, row by row.

    Example:
        >>> import torch
        >>> region_of(torch.tensor([0.0, 0.1, 0.0, 0.9]))
        (0.5, 0.5, 1.0, 1.0)
    """
    side = isqrt(len(patches))
    if not side or side**2 != len(patches) or not bool(patches.max() > 0):
        return None
    rows, columns = (patches.view(side, side) >= _REGION * patches.max()).nonzero(as_tuple=True)
    left, right, top, bottom = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
    return tuple(float(edge) / side for edge in (left, top, right, bottom))  # type: ignore[return-value]
