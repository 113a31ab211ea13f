"""Detection aids beyond MeMOTR: dense proposals as first queries, and noised ground truth to denoise.

Both are off for parity. They exist because a detector trained from scratch on little data and few minutes otherwise
spends them on learning where to look; the model card has their measured effect.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mnemic_core.errors import UserError
from mnemic_vision.boxes import pairwise_iou
from mnemic_vision.memotr.config import MemotrConfig
from mnemic_vision.memotr.embeddings import logit
from mnemic_vision.memotr.layers import Mlp
from mnemic_vision.memotr.targets import Target
from mnemic_vision.memotr.transformer import EncodedImage, cell_centres

PROPOSAL_SIZE = 0.05  # side of a proposal at the finest level; each further level doubles it
DISTINCT_IOU = 0.7  # proposals overlapping a better one by more are no queries
POOL_FACTOR = 8  # proposals considered per query


@dataclass(frozen=True)
class DenseProposals:
    """One proposal a token.

    Attributes:
        logits: class logits.
        boxes: cxcywh in [0, 1].
        centres: the token's place (x, y) in the image, in [0, 1].
        padding: True at tokens outside the image.
    """

    logits: Float[Tensor, "batch token label"]
    boxes: Float[Tensor, "batch token 4"]
    centres: Float[Tensor, "batch token 2"]
    padding: Bool[Tensor, "batch token"]


class ProposalHead(nn.Module):
    """Scores every encoder token and picks the best ones that do not overlap as first queries.

    Two-stage selection as in Deformable-DETR; the duplicate suppression follows the idea of dense distinct queries
    (DDQ-DETR), so that the head may be trained one-to-many without giving several queries to one object.
    """

    def __init__(self, config: MemotrConfig) -> None:
        super().__init__()
        self.num_queries = config.num_queries
        self.project = nn.Sequential(nn.Linear(config.dim, config.dim), nn.LayerNorm(config.dim))
        self.class_head = nn.Linear(config.dim, config.num_classes)
        self.box_head = Mlp(config.dim, config.dim, config.dim, 4)
        self.to_query = nn.Sequential(nn.Linear(config.dim, config.dim), nn.LayerNorm(config.dim))

    def forward(
        self, image: EncodedImage
    ) -> tuple[Float[Tensor, "batch query dim"], Float[Tensor, "batch query 4"], DenseProposals]:
        """Return content and reference logits of the detect queries, and all proposals for the loss."""
        tokens = self.project(image.tokens)
        centres = cell_centres(image.valid_ratios, image.shapes)
        with torch.autocast(tokens.device.type, enabled=False):
            prior = logit(torch.cat([centres, self._sizes(image).expand_as(centres)], dim=-1))
            boxes = (self.box_head(tokens.float()) + prior).sigmoid()
            logits = self.class_head(tokens.float())
        proposals = DenseProposals(logits, boxes, centres, image.padding)
        best = self._select(proposals)
        content = self.to_query(tokens.gather(1, best[..., None].expand(-1, -1, tokens.shape[2])))
        reference = logit(boxes.detach().gather(1, best[..., None].expand(-1, -1, 4)))
        return content, reference, proposals

    def _sizes(self, image: EncodedImage) -> Float[Tensor, "1 token 1"]:
        sizes = [
            torch.full((height * width,), PROPOSAL_SIZE * 2**level)
            for level, (height, width) in enumerate(image.shapes)
        ]
        return torch.cat(sizes).to(image.tokens.device)[None, :, None]

    @torch.no_grad()
    def _select(self, proposals: DenseProposals) -> Int[Tensor, "batch query"]:
        """Return the best tokens, those hidden by a better overlapping one last."""
        scores = proposals.logits.amax(dim=-1).masked_fill(proposals.padding, -torch.inf)
        if scores.shape[1] < self.num_queries:
            raise UserError(
                f"two_stage needs a token for each query, got {scores.shape[1]} tokens for {self.num_queries} queries: "
                "give larger images or fewer queries"
            )
        pool = min(POOL_FACTOR * self.num_queries, scores.shape[1])
        top, token = scores.topk(pool, dim=1)
        boxes = proposals.boxes.gather(1, token[..., None].expand(-1, -1, 4))
        better = torch.ones(pool, pool, dtype=torch.bool, device=top.device).tril(diagonal=-1)
        hidden = ((pairwise_iou(boxes, boxes) > DISTINCT_IOU) & better).any(dim=2)
        # Hidden proposals keep their order behind all others: the number of queries is fixed.
        chosen = hidden.long().argsort(dim=1, stable=True)[:, : self.num_queries]
        return token.gather(1, chosen)


@dataclass(frozen=True)
class NoisedQueries:
    """Noised ground truth as queries, with what they should become.

    Attributes:
        content: query content.
        reference: logits of the noised boxes.
        padding: True at queries that fill up the batch.
        blocked: True where a query of ``[noised ; detect]`` may not see another.
        objects: index of the ground truth of each query, -1 for negatives.
    """

    content: Float[Tensor, "batch query dim"]
    reference: Float[Tensor, "batch query 4"]
    padding: Bool[Tensor, "batch query"]
    group: Int[Tensor, " query"]
    objects: Int[Tensor, "batch query"]


class Denoising(nn.Module):
    """Adds groups of noised ground truth to the detect queries in training (DN-DETR, contrastive form of DINO).

    Each group holds every object twice: slightly moved (to be restored) and strongly moved (to be rejected).
    """

    def __init__(self, config: MemotrConfig) -> None:
        super().__init__()
        self.groups = config.denoising_groups
        self.content = nn.Embedding(config.num_classes, config.dim)

    def forward(self, targets: list[Target]) -> NoisedQueries:
        """Return the noised queries of a batch; without any object each group still has one padded query."""
        device = self.content.weight.device
        size = max(1, *(len(target.ids) for target in targets))
        boxes = torch.full((len(targets), size, 4), 0.5, device=device)
        labels = torch.zeros(len(targets), size, dtype=torch.long, device=device)
        padding = torch.ones(len(targets), size, dtype=torch.bool, device=device)
        for row, target in enumerate(targets):
            count = len(target.ids)
            boxes[row, :count], labels[row, :count], padding[row, :count] = target.boxes, target.labels, False
        repeats = 2 * self.groups
        is_negative = (torch.arange(repeats, device=device) % 2 == 1).repeat_interleave(size)
        objects = torch.arange(size, device=device).repeat(repeats).expand(len(targets), -1)
        objects = objects.masked_fill(is_negative | padding.repeat(1, repeats), -1)
        return NoisedQueries(
            content=self.content(labels.repeat(1, repeats)),
            reference=logit(_move(boxes.repeat(1, repeats, 1), is_negative)),
            padding=padding.repeat(1, repeats),
            group=torch.arange(self.groups, device=device).repeat_interleave(2 * size),
            objects=objects,
        )


def _move(boxes: Tensor, is_negative: Tensor) -> Tensor:
    """Shift centre and size by up to half of the box (positives) or by half to all of it (negatives)."""
    amount = torch.rand_like(boxes) * 0.5 + 0.5 * is_negative[None, :, None]
    sign = torch.randint_like(boxes, 2) * 2 - 1
    reach = torch.cat([boxes[..., 2:] / 2, boxes[..., 2:]], dim=-1)
    return (boxes + sign * amount * reach).clamp(1e-3, 1 - 1e-3)


def blocked_between(group: Int[Tensor, " noised"], num_queries: int) -> Bool[Tensor, "query query"]:
    """Return who may not see whom in ``[noised ; others]``: groups see themselves and the others never see them."""
    others = torch.full((num_queries - len(group),), -1, device=group.device)
    owner = torch.cat([group, others])
    is_noised = owner >= 0
    return (owner[:, None] != owner[None]) & is_noised[None]
