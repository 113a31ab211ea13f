"""Deformable encoder: self-attention over the cells of all feature levels (Deformable DETR, arXiv 2010.04159)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mnemic_vision.deformable_attention import DeformableAttention, Shapes
from mnemic_vision.memotr.layers import FeedForward


@dataclass(frozen=True)
class EncodedImage:
    """Output of the encoder.

    Attributes:
        tokens: of all levels, concatenated.
        padding: True at tokens outside the image.
        valid_ratios: share of each level's width and height that is not padding, as (width, height).
        shapes: (height, width) of each level.
    """

    tokens: Float[Tensor, "batch token dim"]
    padding: Bool[Tensor, "batch token"]
    valid_ratios: Float[Tensor, "batch level 2"]
    shapes: Shapes


def valid_ratios(padding: Bool[Tensor, "batch height width"]) -> Float[Tensor, "batch 2"]:
    """Return the share of width and height that is not padding."""
    # The first row and column suffice, since padding is right of and below the image.
    height, width = padding.shape[1:]
    return torch.stack([(~padding[:, 0]).sum(1) / width, (~padding[:, :, 0]).sum(1) / height], dim=-1)


def cell_centers(ratios: Float[Tensor, "batch level 2"], shapes: Shapes) -> Float[Tensor, "batch token 2"]:
    """Return the center (x, y) of each cell, normalized so that the image without padding spans [0, 1]."""
    centers = []
    for level, (height, width) in enumerate(shapes):
        y = (torch.arange(height, device=ratios.device) + 0.5) / height
        x = (torch.arange(width, device=ratios.device) + 0.5) / width
        # In the order of the tokens, row by row, with x before y as in boxes.
        grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).reshape(1, -1, 2)
        centers.append(grid / ratios[:, None, level])
    return torch.cat(centers, dim=1)


class EncoderLayer(nn.Module):
    """Deformable self-attention and feed-forward network, both post-norm."""

    def __init__(
        self, dim: int, num_heads: int, num_levels: int, num_points: int, ffn_dim: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.attention = DeformableAttention(dim, num_heads, num_levels, num_points)
        self.attention_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.ffn = FeedForward(dim, ffn_dim, dropout)

    def forward(
        self,
        tokens: Float[Tensor, "batch token dim"],
        positions: Float[Tensor, "batch token dim"],
        reference: Float[Tensor, "batch token level 2"],
        shapes: Shapes,
        padding: Bool[Tensor, "batch token"] | None,
    ) -> Float[Tensor, "batch token dim"]:
        """Return the tokens after one layer."""
        found = self.attention(tokens + positions, reference, tokens, shapes, padding)
        out: Tensor = self.ffn(self.attention_norm(tokens + self.dropout(found)))
        return out


class Encoder(nn.Module):
    """Deformable self-attention over the tokens of all levels, optionally recomputed in the backward pass."""

    def __init__(
        self, layers: Iterable[EncoderLayer], num_levels: int, dim: int, use_checkpointing: bool = False
    ) -> None:
        super().__init__()
        self.use_checkpointing = use_checkpointing
        self.level_embed = nn.Parameter(torch.randn(num_levels, dim))
        self.layers = nn.ModuleList(layers)

    def forward(
        self,
        levels: Sequence[Float[Tensor, "batch dim _height _width"]],
        paddings: Sequence[Bool[Tensor, "batch _height _width"]],
        positions: Sequence[Float[Tensor, "batch dim _height _width"]],
    ) -> EncodedImage:
        """Return the encoded image, from projected feature maps with their padding and position embeddings."""
        shapes = [(level.shape[2], level.shape[3]) for level in levels]
        tokens = torch.cat([level.flatten(2) for level in levels], dim=2).mT.contiguous()  # batch token dim
        padding = torch.cat([level.flatten(1) for level in paddings], dim=1)
        located = [where.flatten(2).mT + embed for where, embed in zip(positions, self.level_embed, strict=True)]
        where = torch.cat(located, dim=1).to(tokens.dtype)
        ratios = torch.stack([valid_ratios(level) for level in paddings], dim=1)
        # The center of each cell in the coordinates of every level, which differ in their share of padding.
        reference = cell_centers(ratios, shapes)[:, :, None] * ratios[:, None]
        for layer in self.layers:
            if self.use_checkpointing and self.training:
                tokens = checkpoint(layer, tokens, where, reference, shapes, padding, use_reentrant=False)
            else:
                tokens = layer(tokens, where, reference, shapes, padding)
        return EncodedImage(tokens, padding, ratios, shapes)
