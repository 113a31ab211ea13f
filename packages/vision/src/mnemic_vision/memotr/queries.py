"""The two kinds of queries: boxes with content (DAB-DETR, the main model) and learned positions (Deformable DETR).

Each kind is a pair of modules: the detect queries, and the part of the decoder that embeds the positions of queries.
`DabQueries` go with `BoxPositions`, `DeformableQueries` with `LearnedPositions`. The last ``dim`` channels of a query
are its content; a deformable query has its position before them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_vision.memotr.embeddings import sine_boxes
from mnemic_vision.memotr.encoder import EncodedImage
from mnemic_vision.memotr.layers import Mlp


@dataclass(frozen=True)
class DetectQueries:
    """The queries that find new objects.

    Attributes:
        query: content, after a position in the deformable variant.
        reference: logits of the boxes (cx, cy, width, height) at which they start.
    """

    query: Float[Tensor, "batch detect query_dim"]
    reference: Float[Tensor, "batch detect 4"]


@dataclass(frozen=True)
class Queries:
    """Input of the decoder, in the order ``[detect ; track]``.

    Attributes:
        query: content, after a position in the deformable variant.
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
    """Detect queries with learned content and learned positions, which give their first reference points."""

    def __init__(self, num_queries: int, dim: int) -> None:
        super().__init__()
        self.content = nn.Parameter(torch.randn(num_queries, 2 * dim))  # positions, then content
        self.reference_points = nn.Linear(dim, 2)

    def forward(self, image: EncodedImage) -> DetectQueries:
        """Return the same queries for every image; the sizes of their boxes are unknown, with logits 0."""
        batch, positions = len(image.tokens), self.content.chunk(2, dim=-1)[0]
        reference = F.pad(self.reference_points(positions), (0, 2))
        return DetectQueries(self.content.expand(batch, -1, -1), reference.expand(batch, -1, -1))


class BoxPositions(nn.Module):
    """Positions of DAB queries: the embedding of the box that a layer starts from, scaled by the content."""

    starts_from_points = False

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.head = Mlp(2 * dim, dim, dim)
        self.scale = Mlp(dim, dim, dim)

    def forward(
        self,
        index: int,
        query: Float[Tensor, "batch query dim"],
        content: Float[Tensor, "batch query dim"],
        located: Float[Tensor, "batch query level 4"],
    ) -> Float[Tensor, "batch query dim"]:
        """Return the position of each query in layer ``index``, whose input is ``content``."""
        # The official code embeds the box in the padded coordinates of the finest level.
        positions: Tensor = self.head(sine_boxes(located[:, :, 0], self.dim).to(content.dtype))
        return positions if index == 0 else positions * self.scale(content)


class LearnedPositions(nn.Module):
    """Positions that are learned with each query and the same in all layers; the first layer only has points."""

    starts_from_points = True

    def forward(
        self,
        index: int,
        query: Float[Tensor, "batch query query_dim"],
        content: Float[Tensor, "batch query dim"],
        located: Float[Tensor, "batch query level coordinate"],
    ) -> Float[Tensor, "batch query dim"]:
        """Return the learned position of each query, its first half."""
        return query.chunk(2, dim=-1)[0]
