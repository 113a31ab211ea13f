"""Contrastive denoising (DN-DETR arXiv 2203.01305, DINO arXiv 2203.03605): noised ground truth as extra queries.

Not in MeMOTR. The network is unchanged: `denoise` runs it on more queries in training.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mnemic_vision.memotr.embeddings import logit
from mnemic_vision.memotr.losses import Objects
from mnemic_vision.memotr.model import Memotr
from mnemic_vision.memotr.output import FrameOutput, LayerPrediction
from mnemic_vision.memotr.queries import Queries
from mnemic_vision.memotr.tracks import TrackState


@dataclass(frozen=True)
class NoisedQueries:
    """Noised ground truth as queries, with their targets.

    Attributes:
        content: query content.
        reference: logits of the noised boxes.
        padding: True at queries to ignore.
        group: group of each query; queries of one group attend to each other.
        objects: index of the ground truth of each query, -1 for negatives.
    """

    content: Float[Tensor, "batch query dim"]
    reference: Float[Tensor, "batch query 4"]
    padding: Bool[Tensor, "batch query"]
    group: Int[Tensor, " query"]
    objects: Int[Tensor, "batch query"]


class Denoising(nn.Module):
    """Makes groups of noised ground truth, each object twice: slightly moved (positive) and strongly (negative)."""

    def __init__(self, num_groups: int, num_classes: int, dim: int) -> None:
        super().__init__()
        self.num_groups = num_groups
        self.content = nn.Embedding(num_classes, dim)

    def forward(self, objects: Objects) -> NoisedQueries:
        """Return the noised queries of a batch."""
        padding = ~objects.valid
        batch, size = padding.shape
        repeats = 2 * self.num_groups
        # In a group all positives come before all negatives.
        is_negative = (torch.arange(repeats, device=padding.device) % 2 == 1).repeat_interleave(size)
        index = torch.arange(size, device=padding.device).repeat(repeats).expand(batch, -1)
        return NoisedQueries(
            content=self.content(objects.labels.repeat(1, repeats)),
            reference=logit(_move(objects.boxes.repeat(1, repeats, 1), is_negative)),
            padding=padding.repeat(1, repeats),
            group=torch.arange(self.num_groups, device=padding.device).repeat_interleave(2 * size),
            objects=index.masked_fill(is_negative | padding.repeat(1, repeats), -1),
        )


def denoise(
    model: Memotr,
    noised: NoisedQueries,
    images: Float[Tensor, "batch 3 height width"],
    padding: Bool[Tensor, "batch height width"],
    tracks: TrackState,
) -> tuple[FrameOutput, tuple[LayerPrediction, ...]]:
    """Return the output of the network for a frame, and its predictions for the noised queries, one per layer.

    The noised queries attend to the others but not vice versa, so the first result is that of the network alone.
    """
    image = model.encode(model.backbone(images), padding)
    detect = model.detect_queries(image)
    others, count = model.join_queries(detect, tracks), noised.content.shape[1]
    queries = Queries(
        query=torch.cat([noised.content.to(others.query.dtype), others.query], dim=1),
        reference=torch.cat([noised.reference, others.reference], dim=1),
        padding=torch.cat([noised.padding, others.padding], dim=1),
        num_detect=count + others.num_detect,
        allowed=allowed_between(noised.group, others.query.shape[1], others.allowed),
    )
    output = model.decode(detect, queries, image)
    denoised = tuple(LayerPrediction(layer.logits[:, :count], layer.boxes[:, :count]) for layer in output.layers)
    return _without_first(output, count), denoised


def allowed_between(
    group: Int[Tensor, " noised"], num_others: int, others: Bool[Tensor, "other other"] | None = None
) -> Bool[Tensor, "query query"]:
    """Return the attention mask of ``[noised ; others]``, given that of the others; None allows everything.

    Noised queries attend to their own group and to the others, which never attend to them.
    """
    count = len(group)
    allowed = torch.ones(count + num_others, count + num_others, dtype=torch.bool, device=group.device)
    allowed[:count, :count] = group[:, None] == group
    allowed[count:, :count] = False
    if others is not None:
        allowed[count:, count:] = others
    return allowed


def _without_first(output: FrameOutput, count: int) -> FrameOutput:
    """Return the output without the first ``count`` queries."""
    return replace(
        output,
        layers=tuple(LayerPrediction(layer.logits[:, count:], layer.boxes[:, count:]) for layer in output.layers),
        hidden=output.hidden[:, count:],
        newborn=output.newborn[:, count:],
        reference=output.reference[:, count:],
        padding=output.padding[:, count:],
    )


def _move(boxes: Float[Tensor, "batch query 4"], is_negative: Bool[Tensor, " query"]) -> Float[Tensor, "batch query 4"]:
    """Shift center and size by up to half of the box (positives) or by half to all of it (negatives)."""
    amount = torch.rand_like(boxes) * 0.5 + 0.5 * is_negative[None, :, None]
    sign = torch.randint_like(boxes, 2) * 2 - 1
    reach = torch.cat([boxes[..., 2:] / 2, boxes[..., 2:]], dim=-1)
    return (boxes + sign * amount * reach).clamp(1e-3, 1 - 1e-3)  # the logit of 0 or 1 is infinite
