"""The encoder of T5, as a whole or block by block."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mnemic_retrieval.t5.blocks import NORM_EPS, EncoderBlock, masked_bias
from mnemic_retrieval.t5.config import T5Config
from mnemic_retrieval.t5.relative_bias import RelativeBias


class T5Encoder(nn.Module):
    """Encodes embedded tokens, all of which see each other.

    Systems that put a memory between two blocks call the parts of `forward` themselves.

    Args:
        config: sizes.

    Example:
        >>> config = T5Config(vocab_size=9, dim=8, num_heads=2, head_dim=4, ffn_dim=16, encoder_layers=2)
        >>> encoder, x = T5Encoder(config), torch.randn(2, 5, 8)
        >>> encoder(x, torch.tensor([[False] * 5, [False] * 3 + [True] * 2])).shape
        torch.Size([2, 5, 8])
    """

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(EncoderBlock(config) for _ in range(config.encoder_layers))
        self.relative_bias = RelativeBias(config.num_buckets, config.max_distance, config.num_heads)
        self.norm = nn.RMSNorm(config.dim, NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.normal_(self.relative_bias.table.weight, std=config.dim**-0.5)

    def forward(
        self, x: Float[Tensor, "batch token dim"], padding: Bool[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token dim"]:
        """Return the encoded tokens.

        Args:
            x: embedded tokens.
            padding: True at tokens to ignore, behind the others.
        """
        bias = masked_bias(self.position_bias(x.shape[1]), ~padding[:, None, None])
        x = self.dropout(x)
        return self.finish(self.run(x, bias))

    def position_bias(self, num_tokens: int) -> Float[Tensor, "1 head token token"]:
        """Return the bias of attention between consecutive tokens."""
        place = torch.arange(num_tokens, device=self.relative_bias.table.weight.device)
        bias: Tensor = self.relative_bias(place, place)
        return bias[None]

    def run(
        self,
        x: Float[Tensor, "batch token dim"],
        bias: Float[Tensor, "#batch #head #token token"],
        start: int = 0,
        stop: int | None = None,
    ) -> Float[Tensor, "batch token dim"]:
        """Return tokens after the blocks from ``start`` to before ``stop``, by default all."""
        for block in self.blocks[start:stop]:
            x = block(x, bias)
        return x

    def finish(self, x: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        """Return what leaves the encoder, of tokens after the last block."""
        y: Tensor = self.dropout(self.norm(x))
        return y
