"""The decoder, with a detection-only part before the joint layers."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.layers import join_heads, split_heads
from mnemic_vision.deformable_attention import DeformableAttention
from mnemic_vision.memotr.embeddings import logit
from mnemic_vision.memotr.encoder import EncodedImage
from mnemic_vision.memotr.layers import FeedForward, Mlp
from mnemic_vision.memotr.queries import BoxPositions, LearnedPositions, Queries


@dataclass(frozen=True)
class DecodedQueries:
    """Output of the decoder, one entry per layer.

    Attributes:
        inputs: content of the queries before the layer.
        hidden: content after it.
        references: boxes (cxcywh in [0, 1]) before the layer.
        boxes: boxes that the layer predicts.
        newborn: initial query of a track, the input of the last layer.
    """

    inputs: tuple[Float[Tensor, "batch query dim"], ...]
    hidden: tuple[Float[Tensor, "batch query dim"], ...]
    references: tuple[Float[Tensor, "batch query 4"], ...]
    boxes: tuple[Float[Tensor, "batch query 4"], ...]
    newborn: Float[Tensor, "batch query query_dim"]


class DecoderLayer(nn.Module):
    """Self-attention, deformable cross-attention to the image and feed-forward network, all post-norm."""

    def __init__(
        self, dim: int, num_heads: int, num_levels: int, num_points: int, ffn_dim: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.self_attention = nn.MultiheadAttention(dim, num_heads, dropout, batch_first=True)
        self.self_attention_norm = nn.LayerNorm(dim)
        self.cross_attention = DeformableAttention(dim, num_heads, num_levels, num_points)
        self.cross_attention_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.ffn = FeedForward(dim, ffn_dim, dropout)

    def forward(
        self,
        queries: Float[Tensor, "batch query dim"],
        positions: Float[Tensor, "batch query dim"],
        reference: Float[Tensor, "batch query level coordinate"],
        image: EncodedImage,
        padding: Bool[Tensor, "batch query"],
        allowed: Bool[Tensor, "query query"] | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        """Return the queries after one layer; ``allowed`` is True where one query may attend to another."""
        visible = ~padding[:, None] if allowed is None else allowed & ~padding[:, None]
        found = self._attend(queries + positions, queries, visible)
        queries = self.self_attention_norm(queries + self.dropout(found))
        found = self.cross_attention(queries + positions, reference, image.tokens, image.shapes, image.padding)
        out: Tensor = self.ffn(self.cross_attention_norm(queries + self.dropout(found)))
        return out

    def _attend(
        self,
        located: Float[Tensor, "batch query dim"],
        queries: Float[Tensor, "batch query dim"],
        visible: Bool[Tensor, "batch _ query"],
    ) -> Float[Tensor, "batch query dim"]:
        """Return the self-attention of the queries.

        The module's own ``forward`` checks a padding mask with symbolic shapes and imports sympy for it, a third of the
        time of importing torch.
        """
        attention, dim = self.self_attention, queries.shape[-1]
        weight, bias = attention.in_proj_weight, attention.in_proj_bias
        query, key = F.linear(located, weight[: 2 * dim], bias[: 2 * dim]).chunk(2, dim=-1)
        value = F.linear(queries, weight[2 * dim :], bias[2 * dim :])
        query, key, value = (split_heads(part, attention.num_heads) for part in (query, key, value))
        dropout = attention.dropout if self.training else 0.0
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=visible[:, None], dropout_p=dropout)
        out: Tensor = attention.out_proj(join_heads(found))
        return out


class Decoder(nn.Module):
    """Layers that refine boxes one after the other.

    Layers before ``merge_layer`` process the detect queries alone: initial detect queries carry no object semantics,
    whereas track queries do, and a detection-only layer closes that gap (paper, section 1).
    """

    def __init__(
        self,
        layers: Iterable[DecoderLayer],
        positions: BoxPositions | LearnedPositions,
        dim: int,
        merge_layer: int = 1,
    ) -> None:
        super().__init__()
        self.dim, self.merge_layer = dim, merge_layer
        self.layers = nn.ModuleList(layers)
        self.box_heads = nn.ModuleList(Mlp(dim, dim, dim, 4) for _ in self.layers)
        self.positions = positions

    def forward(self, queries: Queries, image: EncodedImage) -> DecodedQueries:
        """Run all layers over the queries of an encoded image."""
        query = queries.query.to(image.tokens.dtype)
        content = query[..., -self.dim :]
        reference = queries.reference.sigmoid()
        inputs, hidden, references, boxes = [], [], [], []
        for index in range(len(self.layers)):
            active = queries.num_detect if index < self.merge_layer else content.shape[1]
            inputs.append(content)
            references.append(reference)
            changed = self._layer(index, queries, content[:, :active], reference[:, :active], image)
            content = torch.cat([changed, content[:, active:]], dim=1)
            hidden.append(content)
            # Half precision would move a box of a large image by pixels.
            with torch.autocast(content.device.type, enabled=False):
                boxes.append((self.box_heads[index](content.float()) + logit(reference)).sigmoid())
            # Tracks that pass through keep their reference. No gradient between layers.
            reference = torch.cat([boxes[-1][:, :active], reference[:, active:]], dim=1).detach()
        newborn = torch.cat([query[..., : -self.dim], inputs[-1]], dim=-1)
        return DecodedQueries(tuple(inputs), tuple(hidden), tuple(references), tuple(boxes), newborn)

    def _layer(
        self,
        index: int,
        queries: Queries,
        content: Float[Tensor, "batch active dim"],
        reference: Float[Tensor, "batch active 4"],
        image: EncodedImage,
    ) -> Float[Tensor, "batch active dim"]:
        """Return the content of the active queries, which are the leading ones, after layer ``index``."""
        active = content.shape[1]
        known = reference[..., :2] if index == 0 and self.positions.starts_from_points else reference
        # The same place in the coordinates of each padded level; ratios are of width and height.
        located = known[:, :, None] * image.valid_ratios.repeat(1, 1, known.shape[-1] // 2)[:, None]
        where = self.positions(index, queries.query[:, :active].to(content.dtype), content, located)
        allowed = None if queries.allowed is None else queries.allowed[:active, :active]
        changed: Tensor = self.layers[index](content, where, located, image, queries.padding[:, :active], allowed)
        return changed
