"""Fewer patches for a picture (a length that the paper's reader suffers from)."""

from math import isqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.errors import UserError
from mnemic_retrieval.t5.blocks import NORM_EPS, T5Attention
from mnemic_retrieval.t5.config import T5Config


class AverageReducer(nn.Module):
    """The mean of each 2 x 2 patches of a square picture.

    Args:
        num_patches: of a picture.

    Raises:
        UserError: they are no square.

    Example:
        >>> AverageReducer(49)(torch.ones(1, 49, 8)).shape
        torch.Size([1, 16, 8])
    """

    def __init__(self, num_patches: int) -> None:
        super().__init__()
        self.side = isqrt(num_patches)
        if self.side**2 != num_patches:
            raise UserError(f"the mean of 2 x 2 patches needs a square of them, got {num_patches}: choose resample")

    def forward(self, patches: Float[Tensor, "batch patch dim"]) -> Float[Tensor, "batch fewer dim"]:
        """Return the means, row by row."""
        grid = patches.mT.unflatten(2, (self.side, self.side))
        return F.avg_pool2d(grid, 2, ceil_mode=True).flatten(2).mT


class Resampler(nn.Module):
    """Learned queries that attend to the patches (as in Flamingo, arXiv 2204.14198, with one layer).

    Args:
        config: sizes of the attention.
        num_queries: of a picture.
    """

    def __init__(self, config: T5Config, num_queries: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(num_queries, config.dim))
        self.norm, self.attention = nn.RMSNorm(config.dim, NORM_EPS), T5Attention(config)

    def forward(self, patches: Float[Tensor, "batch patch dim"]) -> Float[Tensor, "batch fewer dim"]:
        """Return what the queries find."""
        queries = self.queries.expand(len(patches), -1, -1)
        bias = patches.new_zeros(1, 1, 1, patches.shape[1])
        found: Tensor = self.attention(self.norm(queries), *self.attention.keys_and_values(patches), bias)
        return queries + found
