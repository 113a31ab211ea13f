"""Deformable encoder and the decoder that keeps detection and tracking apart for its first layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mnemic_vision.deformable_attention import DeformableAttention
from mnemic_vision.memotr.config import MemotrConfig
from mnemic_vision.memotr.embeddings import logit, sine_boxes
from mnemic_vision.memotr.layers import FeedForward, Mlp

Shapes = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class EncodedImage:
    """What the decoder reads.

    Attributes:
        tokens: encoder output, all levels one after the other.
        padding: True at tokens outside the image.
        valid_ratios: share of each level's width and height that is image, in the order (width, height).
        shapes: (height, width) of each level.
    """

    tokens: Float[Tensor, "batch token dim"]
    padding: Bool[Tensor, "batch token"]
    valid_ratios: Float[Tensor, "batch level 2"]
    shapes: Shapes


@dataclass(frozen=True)
class DecodedQueries:
    """What the decoder found, one entry a layer.

    Attributes:
        inputs: queries going into the layer.
        hidden: queries coming out of it.
        references: boxes (cxcywh in [0, 1]) going into the layer.
        boxes: boxes that the layer predicts.
    """

    inputs: tuple[Float[Tensor, "batch query dim"], ...]
    hidden: tuple[Float[Tensor, "batch query dim"], ...]
    references: tuple[Float[Tensor, "batch query 4"], ...]
    boxes: tuple[Float[Tensor, "batch query 4"], ...]


def valid_ratios(padding: Bool[Tensor, "batch height width"]) -> Float[Tensor, "batch 2"]:
    """Return which share of the width and of the height is image."""
    height, width = padding.shape[1:]
    return torch.stack([(~padding[:, 0]).sum(1) / width, (~padding[:, :, 0]).sum(1) / height], dim=-1)


def cell_centres(ratios: Float[Tensor, "batch level 2"], shapes: Shapes) -> Float[Tensor, "batch token 2"]:
    """Return the centre (x, y) of each cell, normalised so that the image without padding spans [0, 1]."""
    centres = []
    for level, (height, width) in enumerate(shapes):
        y = (torch.arange(height, device=ratios.device) + 0.5) / height
        x = (torch.arange(width, device=ratios.device) + 0.5) / width
        grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).reshape(1, -1, 2)
        centres.append(grid / ratios[:, None, level])
    return torch.cat(centres, dim=1)


class EncoderLayer(nn.Module):
    """Deformable self-attention and feed-forward, both post-norm."""

    def __init__(self, config: MemotrConfig) -> None:
        super().__init__()
        self.attention = DeformableAttention(config.dim, config.num_heads, config.num_levels, config.encoder_points)
        self.attention_norm = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(config.dropout)
        self.ffn = FeedForward(config.dim, config.ffn_dim, config.dropout)

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
        return self.ffn(self.attention_norm(tokens + self.dropout(found)))  # type: ignore[no-any-return]


class DecoderLayer(nn.Module):
    """Self-attention between queries, deformable cross-attention to the image, feed-forward; all post-norm."""

    def __init__(self, config: MemotrConfig) -> None:
        super().__init__()
        self.self_attention = nn.MultiheadAttention(config.dim, config.num_heads, config.dropout, batch_first=True)
        self.self_attention_norm = nn.LayerNorm(config.dim)
        self.cross_attention = DeformableAttention(
            config.dim, config.num_heads, config.num_levels, config.decoder_points
        )
        self.cross_attention_norm = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(config.dropout)
        self.ffn = FeedForward(config.dim, config.ffn_dim, config.dropout)

    def forward(
        self,
        queries: Float[Tensor, "batch query dim"],
        positions: Float[Tensor, "batch query dim"],
        reference: Float[Tensor, "batch query level coordinate"],
        image: EncodedImage,
        padding: Bool[Tensor, "batch query"],
        blocked: Bool[Tensor, "query query"] | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        """Return the queries after one layer; ``blocked`` is True where one query may not see another."""
        located = queries + positions
        found, _ = self.self_attention(
            located, located, queries, key_padding_mask=padding, attn_mask=blocked, need_weights=False
        )
        queries = self.self_attention_norm(queries + self.dropout(found))
        found = self.cross_attention(queries + positions, reference, image.tokens, image.shapes, image.padding)
        return self.ffn(self.cross_attention_norm(queries + self.dropout(found)))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Layers that refine boxes one after the other.

    Layers before ``merge_layer`` process the detect queries alone: raw detect queries carry no object semantics
    whereas track queries do, and one detection-only layer closes that gap before they meet (paper, section 1).
    """

    def __init__(self, config: MemotrConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.box_heads = nn.ModuleList(Mlp(dim, dim, dim, 4) for _ in range(config.decoder_layers))
        if config.detector == "dab":
            self.position_head = Mlp(2 * dim, dim, dim)
            self.position_scale = Mlp(dim, dim, dim)

    def forward(
        self,
        queries: Float[Tensor, "batch query dim"],
        positions: Float[Tensor, "batch query dim"] | None,
        reference: Float[Tensor, "batch query 4"],
        image: EncodedImage,
        padding: Bool[Tensor, "batch query"],
        num_detect: int,
        blocked: Bool[Tensor, "query query"] | None = None,
    ) -> DecodedQueries:
        """Run all layers.

        Args:
            queries: content of ``[detect ; track]``.
            positions: learned query positions (deformable variant) or None (DAB: made from the boxes).
            reference: boxes in [0, 1] going into the first layer.
            image: encoded image.
            padding: True at queries to ignore.
            num_detect: how many leading queries are processed before the merge layer.
            blocked: True where one query may not see another.
        """
        inputs, hidden, references, boxes = [], [], [], []
        for index, layer in enumerate(self.layers):
            active = num_detect if index < self.config.merge_layer else queries.shape[1]
            is_point = self.config.detector == "deformable" and index == 0
            inputs.append(queries)
            references.append(reference)
            located = self._locate(reference[:, :active], image, is_point)
            where = self._positions(index, queries[:, :active], located) if positions is None else positions[:, :active]
            seen = blocked[:active, :active] if blocked is not None else None
            changed = layer(queries[:, :active], where, located, image, padding[:, :active], seen)
            queries = torch.cat([changed, queries[:, active:]], dim=1)
            with torch.autocast(queries.device.type, enabled=False):
                delta = self.box_heads[index](queries.float())
                boxes.append((delta + logit(reference)).sigmoid())
                reference = self._refine(reference, boxes[-1], delta, active, is_point)
            hidden.append(queries)
        return DecodedQueries(tuple(inputs), tuple(hidden), tuple(references), tuple(boxes))

    def _locate(self, reference: Tensor, image: EncodedImage, is_point: bool) -> Tensor:
        """Return the references in coordinates of each padded level; two of them in point mode."""
        ratios = image.valid_ratios[:, None]
        if is_point:
            return reference[:, :, None, :2] * ratios
        return reference[:, :, None] * torch.cat([ratios, ratios], dim=-1)

    def _positions(self, index: int, queries: Tensor, located: Tensor) -> Tensor:
        """Return DAB query positions: the sine of the box, scaled by the content after the first layer."""
        positions: Tensor = self.position_head(sine_boxes(located[:, :, 0], self.config.dim).to(queries.dtype))
        return positions if index == 0 else positions * self.position_scale(queries)

    def _refine(self, before: Tensor, boxes: Tensor, delta: Tensor, active: int, is_point: bool) -> Tensor:
        """Return the references of the next layer, without gradient; passive tracks keep theirs."""
        if is_point:  # only the centre of the reference is known so far
            point = torch.cat([logit(before[..., :2]), torch.zeros_like(before[..., 2:])], dim=-1)
            boxes = (delta + point).sigmoid()
        return torch.cat([boxes[:, :active], before[:, active:]], dim=1).detach()


class Encoder(nn.Module):
    """Deformable self-attention over all tokens of all levels."""

    def __init__(self, config: MemotrConfig) -> None:
        super().__init__()
        self.use_checkpointing = config.activation_checkpointing
        self.level_embed = nn.Parameter(torch.randn(config.num_levels, config.dim))
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))

    def forward(
        self,
        levels: Sequence[Float[Tensor, "batch dim _height _width"]],
        paddings: Sequence[Bool[Tensor, "batch _height _width"]],
        positions: Sequence[Float[Tensor, "batch dim _height _width"]],
    ) -> EncodedImage:
        """Encode projected feature maps with their padding and position embeddings."""
        shapes = [(level.shape[2], level.shape[3]) for level in levels]
        tokens = torch.cat([level.flatten(2) for level in levels], dim=2).transpose(1, 2).contiguous()
        padding = torch.cat([level.flatten(1) for level in paddings], dim=1)
        located = [where.flatten(2).transpose(1, 2) + self.level_embed[i] for i, where in enumerate(positions)]
        where = torch.cat(located, dim=1).to(tokens.dtype)
        ratios = torch.stack([valid_ratios(level) for level in paddings], dim=1)
        reference = cell_centres(ratios, shapes)[:, :, None] * ratios[:, None]
        for layer in self.layers:
            if self.use_checkpointing and self.training:
                tokens = checkpoint(layer, tokens, where, reference, shapes, padding, use_reentrant=False)
            else:
                tokens = layer(tokens, where, reference, shapes, padding)
        return EncodedImage(tokens, padding, ratios, shapes)
