"""The two kinds of queries: boxes with content (DAB-DETR, the main model) and learned positions (Deformable DETR).

Each kind is a pair of modules. One holds the detect queries; the other is a part of the decoder and tells where
queries look in each layer. `DabQueries` go with `BoxPositions`, `DeformableQueries` with `LearnedPositions`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_vision.memotr.embeddings import logit, sine_boxes
from mnemic_vision.memotr.encoder import EncodedImage
from mnemic_vision.memotr.layers import Mlp


@dataclass(frozen=True)
class DetectQueries:
    """The queries that find new objects.

    Attributes:
        query: content, after learned positions in the deformable variant.
        reference: logits of the boxes (cx, cy, width, height) at which they start.
    """

    query: Float[Tensor, "batch detect query_dim"]
    reference: Float[Tensor, "batch detect 4"]


@dataclass(frozen=True)
class Queries:
    """What goes into the decoder, in the order ``[detect ; track]``.

    Attributes:
        query: content, after learned positions in the deformable variant.
        reference: logits of the boxes at which they start.
        padding: True at queries to ignore.
        num_detect: number of leading queries that are processed before the merge layer.
        allowed: True where one query (first axis) may attend to another; None: everywhere.
    """

    query: Float[Tensor, "batch query query_dim"]
    reference: Float[Tensor, "batch query 4"]
    padding: Bool[Tensor, "batch query"]
    num_detect: int
    allowed: Bool[Tensor, "query query"] | None = None


class DabQueries(nn.Module):
    """Detect queries with learned content and learned boxes (DAB-DETR, arXiv 2201.12329)."""

    def __init__(self, num_queries: int, dim: int) -> None:
        super().__init__()
        self.content = nn.Parameter(torch.randn(num_queries, dim))
        self.anchors = nn.Parameter(torch.randn(num_queries, 4))

    def forward(self, image: EncodedImage) -> DetectQueries:
        """Return the same queries for every image."""
        batch = len(image.tokens)
        return DetectQueries(self.content.expand(batch, -1, -1), self.anchors.expand(batch, -1, -1))


class DeformableQueries(nn.Module):
    """Detect queries with learned content and learned positions, from which their first points follow."""

    def __init__(self, num_queries: int, dim: int) -> None:
        super().__init__()
        self.content = nn.Parameter(torch.randn(num_queries, 2 * dim))  # positions, then content
        self.reference_points = nn.Linear(dim, 2)

    def forward(self, image: EncodedImage) -> DetectQueries:
        """Return the same queries for every image; the sizes of their boxes are unknown, their logits zero."""
        batch, positions = len(image.tokens), self.content.chunk(2, dim=-1)[0]
        reference = F.pad(self.reference_points(positions), (0, 2))
        return DetectQueries(self.content.expand(batch, -1, -1), reference.expand(batch, -1, -1))


class BoxPositions(nn.Module):
    """Positions of DAB queries: the embedding of the box that a layer starts from, scaled by the content."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.head = Mlp(2 * dim, dim, dim)
        self.scale = Mlp(dim, dim, dim)

    def content(self, query: Float[Tensor, "batch query dim"]) -> Float[Tensor, "batch query dim"]:
        """Return the content of a query: all of it."""
        return query

    def with_content(
        self, query: Float[Tensor, "batch query dim"], content: Float[Tensor, "batch query dim"]
    ) -> Float[Tensor, "batch query dim"]:
        """Return the query with other content."""
        return content

    def locate(
        self, index: int, reference: Float[Tensor, "batch query 4"], ratios: Float[Tensor, "batch level 2"]
    ) -> Float[Tensor, "batch query level 4"]:
        """Return the boxes in coordinates of each padded level."""
        return reference[:, :, None] * torch.cat([ratios, ratios], dim=-1)[:, None]

    def forward(
        self,
        index: int,
        query: Float[Tensor, "batch query dim"],
        content: Float[Tensor, "batch query dim"],
        located: Float[Tensor, "batch query level 4"],
    ) -> Float[Tensor, "batch query dim"]:
        """Return the position of each query in layer ``index``, whose input ``content`` is."""
        # The finest level stands for all: the official code embeds the box in its padded coordinates.
        positions: Tensor = self.head(sine_boxes(located[:, :, 0], self.dim).to(content.dtype))
        return positions if index == 0 else positions * self.scale(content)

    def refine(
        self,
        index: int,
        boxes: Float[Tensor, "batch query 4"],
        delta: Float[Tensor, "batch query 4"],
        reference: Float[Tensor, "batch query 4"],
    ) -> Float[Tensor, "batch query 4"]:
        """Return the boxes that the next layer starts from: those that this layer predicts."""
        return boxes


class LearnedPositions(nn.Module):
    """Positions that are learned with each query and the same in all layers; the first layer knows only points."""

    def content(self, query: Float[Tensor, "batch query query_dim"]) -> Float[Tensor, "batch query dim"]:
        """Return the content of a query, its second half."""
        return query.chunk(2, dim=-1)[1]

    def with_content(
        self, query: Float[Tensor, "batch query query_dim"], content: Float[Tensor, "batch query dim"]
    ) -> Float[Tensor, "batch query query_dim"]:
        """Return the query with other content."""
        return torch.cat([query.chunk(2, dim=-1)[0], content], dim=-1)

    def locate(
        self, index: int, reference: Float[Tensor, "batch query 4"], ratios: Float[Tensor, "batch level 2"]
    ) -> Float[Tensor, "batch query level coordinate"]:
        """Return the references in coordinates of each padded level: points in the first layer, then boxes."""
        known = reference[:, :, None, :2] if index == 0 else reference[:, :, None]
        return known * (ratios if index == 0 else torch.cat([ratios, ratios], dim=-1))[:, None]

    def forward(
        self,
        index: int,
        query: Float[Tensor, "batch query query_dim"],
        content: Float[Tensor, "batch query dim"],
        located: Float[Tensor, "batch query level coordinate"],
    ) -> Float[Tensor, "batch query dim"]:
        """Return the learned position of each query, its first half."""
        return query.chunk(2, dim=-1)[0]

    def refine(
        self,
        index: int,
        boxes: Float[Tensor, "batch query 4"],
        delta: Float[Tensor, "batch query 4"],
        reference: Float[Tensor, "batch query 4"],
    ) -> Float[Tensor, "batch query 4"]:
        """Return the boxes that the next layer starts from; the first layer's are refined from the centre alone."""
        if index > 0:
            return boxes
        # Only the center of the reference is known so far.
        point = torch.cat([logit(reference[..., :2]), torch.zeros_like(reference[..., 2:])], dim=-1)
        return (delta + point).sigmoid()
