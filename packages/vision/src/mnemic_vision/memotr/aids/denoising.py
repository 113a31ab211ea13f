"""Denoising: noised ground truth as further queries in training (DN-DETR, in the contrastive form of DINO).

Not in MeMOTR. The network itself knows nothing of it: `denoise` runs it on more queries.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mnemic_vision.memotr.embeddings import logit
from mnemic_vision.memotr.model import Memotr
from mnemic_vision.memotr.output import FrameOutput, LayerPrediction
from mnemic_vision.memotr.queries import Queries
from mnemic_vision.memotr.targets import Target
from mnemic_vision.memotr.tracks import TrackState


@dataclass(frozen=True)
class NoisedQueries:
    """Noised ground truth as queries, with what they should become.

    Attributes:
        content: query content.
        reference: logits of the noised boxes.
        padding: True at queries that fill up the batch.
        group: group of each query; queries of one group attend to each other.
        objects: index of the ground truth of each query, -1 for negatives.
    """

    content: Float[Tensor, "batch query dim"]
    reference: Float[Tensor, "batch query 4"]
    padding: Bool[Tensor, "batch query"]
    group: Int[Tensor, " query"]
    objects: Int[Tensor, "batch query"]


class Denoising(nn.Module):
    """Makes groups of noised ground truth.

    Each group holds every object twice: slightly moved (to be restored) and strongly moved (to be rejected).

    Args:
        num_groups: groups of a frame.
        num_classes: object classes.
        dim: width of queries.
    """

    def __init__(self, num_groups: int, num_classes: int, dim: int) -> None:
        super().__init__()
        self.num_groups = num_groups
        self.content = nn.Embedding(num_classes, dim)

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
        repeats = 2 * self.num_groups
        # Within a group: all objects slightly moved, then all strongly moved.
        is_negative = (torch.arange(repeats, device=device) % 2 == 1).repeat_interleave(size)
        objects = torch.arange(size, device=device).repeat(repeats).expand(len(targets), -1)
        objects = objects.masked_fill(is_negative | padding.repeat(1, repeats), -1)
        return NoisedQueries(
            content=self.content(labels.repeat(1, repeats)),
            reference=logit(_move(boxes.repeat(1, repeats, 1), is_negative)),
            padding=padding.repeat(1, repeats),
            group=torch.arange(self.num_groups, device=device).repeat_interleave(2 * size),
            objects=objects,
        )


def denoise(
    model: Memotr,
    noised: NoisedQueries,
    images: Float[Tensor, "batch 3 height width"],
    padding: Bool[Tensor, "batch height width"],
    tracks: TrackState,
) -> tuple[FrameOutput, tuple[LayerPrediction, ...]]:
    """Return what the network answers for a frame, and its predictions for the noised queries, one a layer.

    Noised queries are processed in one batch with the others and read them, but are not read by them, so that the
    first result is that of the network alone.
    """
    image = model.encode(model.backbone(images), padding)
    detect = model.detect_queries(image)
    queries = put_before(noised, model.join_queries(detect, tracks))
    output, count = model.decode(detect, queries, image), noised.content.shape[1]
    denoised = tuple(LayerPrediction(layer.logits[:, :count], layer.boxes[:, :count]) for layer in output.layers)
    return _without_first(output, count), denoised


def put_before(noised: NoisedQueries, queries: Queries) -> Queries:
    """Return the queries ``[noised ; detect ; track]``."""
    count = queries.query.shape[1]
    return Queries(
        query=torch.cat([noised.content.to(queries.query.dtype), queries.query], dim=1),
        reference=torch.cat([noised.reference, queries.reference], dim=1),
        padding=torch.cat([noised.padding, queries.padding], dim=1),
        num_detect=noised.content.shape[1] + queries.num_detect,
        allowed=allowed_between(noised.group, count, queries.allowed),
    )


def allowed_between(
    group: Int[Tensor, " noised"], num_others: int, others: Bool[Tensor, "other other"] | None = None
) -> Bool[Tensor, "query query"]:
    """Return who may attend to whom in ``[noised ; others]``.

    Noised queries attend to their own group and to the others, which never attend to them.

    Args:
        group: group of each noised query.
        num_others: number of other queries.
        others: who of the others may attend to whom; None: everyone.
    """
    count = len(group)
    allowed = torch.ones(count + num_others, count + num_others, dtype=torch.bool, device=group.device)
    allowed[:count, :count] = group[:, None] == group
    allowed[count:, :count] = False
    if others is not None:
        allowed[count:, count:] = others
    return allowed


def _without_first(output: FrameOutput, count: int) -> FrameOutput:
    """Return what was answered for all but the first ``count`` queries."""
    return replace(
        output,
        layers=tuple(LayerPrediction(layer.logits[:, count:], layer.boxes[:, count:]) for layer in output.layers),
        hidden=output.hidden[:, count:],
        newborn=output.newborn[:, count:],
        reference=output.reference[:, count:],
        padding=output.padding[:, count:],
    )


def _move(boxes: Float[Tensor, "batch query 4"], is_negative: Bool[Tensor, " query"]) -> Float[Tensor, "batch query 4"]:
    """Shift centre and size by up to half of the box (positives) or by half to all of it (negatives)."""
    # Positives move by less than half of their size and negatives by more, so that the two never meet.
    amount = torch.rand_like(boxes) * 0.5 + 0.5 * is_negative[None, :, None]
    sign = torch.randint_like(boxes, 2) * 2 - 1
    reach = torch.cat([boxes[..., 2:] / 2, boxes[..., 2:]], dim=-1)
    return (boxes + sign * amount * reach).clamp(1e-3, 1 - 1e-3)  # the logit of 0 or 1 is beyond reach
