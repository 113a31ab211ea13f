"""Small blocks shared by the parts of MeMOTR."""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn


class Mlp(nn.Module):
    """Linear layers with ReLU between them; ``Mlp(512, 256, 4)`` has two, from width 512 to 4."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(size, following) for size, following in pairwise(sizes))

    def forward(self, x: Float[Tensor, "*shape size"]) -> Float[Tensor, "*shape out"]:
        """Apply the layers."""
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        out: Tensor = self.layers[-1](x)
        return out


class FeedForward(nn.Module):
    """Position-wise network with residual and post-norm: ``LN(x + W2 relu(W1 x))``."""

    def __init__(self, dim: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.linear1 = nn.Linear(dim, hidden)
        self.linear2 = nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Float[Tensor, "*shape dim"]) -> Float[Tensor, "*shape dim"]:
        """Apply the block."""
        hidden = self.dropout(self.linear1(x).relu_())
        out: Tensor = self.norm(x + self.dropout(self.linear2(hidden)))
        return out
