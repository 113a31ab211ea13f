"""What an encoder makes of pictures or texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mnemic_core import MemoryState


@dataclass(frozen=True)
class Features(MemoryState):
    """Pictures or texts as tokens, and as one vector each.

    Attributes:
        tokens: patches or words.
        padding: True at what a row lacks.
        summary: of the whole; of width 0 from encoders that have none.
        ids: which word each token is; 0 at patches and padding.
    """

    tokens: Float[Tensor, "batch token dim"]
    padding: Bool[Tensor, "batch token"]
    summary: Float[Tensor, "batch summary"]
    ids: Int[Tensor, "batch token"]


def stack_features(rows: Sequence[Features]) -> Features:
    """Return features of one row each as a batch, filled with padding to the longest."""
    length = max(row.tokens.shape[1] for row in rows)
    missing = [length - row.tokens.shape[1] for row in rows]
    return Features(
        torch.cat([F.pad(row.tokens, (0, 0, 0, more)) for row, more in zip(rows, missing, strict=True)]),
        torch.cat([F.pad(row.padding, (0, more), value=True) for row, more in zip(rows, missing, strict=True)]),
        torch.cat([row.summary for row in rows]),
        torch.cat([F.pad(row.ids, (0, more)) for row, more in zip(rows, missing, strict=True)]),
    )
