"""Dense proposals: the detect queries start from the encoder's best tokens instead of learned boxes.

Not in MeMOTR. With few data and little training a detector otherwise hardly learns where to look; see
docs/decisions/0012 for the measured effect.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mnemic_core.errors import UserError
from mnemic_vision.boxes import pairwise_iou
from mnemic_vision.memotr.embeddings import logit
from mnemic_vision.memotr.encoder import EncodedImage, cell_centers
from mnemic_vision.memotr.layers import Mlp
from mnemic_vision.memotr.queries import DetectQueries

PROPOSAL_SIZE = 0.05  # initial side of a proposal at the finest level, doubled at each further level
DISTINCT_IOU = 0.7  # a proposal with a higher IoU with a better one comes after all others
POOL_FACTOR = 8  # proposals considered per query


@dataclass(frozen=True)
class DenseProposals:
    """One proposal per token.

    Attributes:
        logits: class logits.
        boxes: cxcywh in [0, 1].
        centers: position (x, y) of the token in the image, in [0, 1].
        padding: True at tokens outside the image.
    """

    logits: Float[Tensor, "batch token label"]
    boxes: Float[Tensor, "batch token 4"]
    centers: Float[Tensor, "batch token 2"]
    padding: Bool[Tensor, "batch token"]


@dataclass(frozen=True)
class ProposedQueries(DetectQueries):
    """Detect queries, and all proposals of the image that they were selected from."""

    proposals: DenseProposals


class ProposalQueries(nn.Module):
    """Scores every encoder token and starts a detect query at each of the best ones that do not overlap.

    Two-stage selection as in Deformable DETR; the suppression of duplicates follows dense distinct queries (DDQ-DETR,
    arXiv 2303.12776), so that one-to-many training of the head does not give several queries to one object.
    """

    def __init__(self, num_queries: int, dim: int, num_classes: int) -> None:
        super().__init__()
        self.num_queries = num_queries
        self.project = nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim))
        self.class_head = nn.Linear(dim, num_classes)
        self.box_head = Mlp(dim, dim, dim, 4)
        self.to_query = nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim))

    def forward(self, image: EncodedImage) -> ProposedQueries:
        """Return the detect queries of each image, and all proposals for the loss."""
        tokens = self.project(image.tokens)
        centers = cell_centers(image.valid_ratios, image.shapes)
        with torch.autocast(tokens.device.type, enabled=False):
            prior = logit(torch.cat([centers, self._sizes(image).expand_as(centers)], dim=-1))
            boxes = (self.box_head(tokens.float()) + prior).sigmoid()
            logits = self.class_head(tokens.float())
        proposals = DenseProposals(logits, boxes, centers, image.padding)
        best = self._select(proposals)
        content = self.to_query(tokens.gather(1, best[..., None].expand(-1, -1, tokens.shape[2])))
        # Detached, since the head has its own losses.
        reference = logit(boxes.detach().gather(1, best[..., None].expand(-1, -1, 4)))
        return ProposedQueries(content, reference, proposals)

    def _sizes(self, image: EncodedImage) -> Float[Tensor, "1 token 1"]:
        sizes = [
            torch.full((height * width,), PROPOSAL_SIZE * 2**level)
            for level, (height, width) in enumerate(image.shapes)
        ]
        return torch.cat(sizes).to(image.tokens.device)[None, :, None]

    @torch.no_grad()
    def _select(self, proposals: DenseProposals) -> Int[Tensor, "batch query"]:
        """Return the best tokens, those that a better one suppresses last."""
        scores = proposals.logits.amax(dim=-1).masked_fill(proposals.padding, -torch.inf)
        if scores.shape[1] < self.num_queries:
            raise UserError(
                f"two_stage needs a token for each query, got {scores.shape[1]} tokens for {self.num_queries} queries: "
                "give larger images or fewer queries"
            )
        pool = min(POOL_FACTOR * self.num_queries, scores.shape[1])
        # A pool, because the overlaps of all pairs of tokens would be millions.
        top, token = scores.topk(pool, dim=1)
        boxes = proposals.boxes.gather(1, token[..., None].expand(-1, -1, 4))
        better = torch.ones(pool, pool, dtype=torch.bool, device=top.device).tril(diagonal=-1)
        hidden = ((pairwise_iou(boxes, boxes) > DISTINCT_IOU) & better).any(dim=2)
        # Suppressed, not removed: the number of queries is fixed.
        chosen = hidden.long().argsort(dim=1, stable=True)[:, : self.num_queries]
        return token.gather(1, chosen)
