"""Matching of predicted to annotated instances, and losses (official `criterion`)."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_vision.matching import hungarian
from mnemic_vision.matr.labels import WindowTargets
from mnemic_vision.matr.output import MatrOutput


@dataclass(frozen=True)
class MatrLosses:
    """Losses of a batch of windows, each a mean; those of boundaries are 0 without an action in the batch.

    Attributes:
        classes: class of every slot, background included.
        regions: start region of actions.
        l1: start and end offset of actions.
        diou: distance IoU of actions (arXiv:1911.08287, in one dimension).
        flag: whether the window overlaps an action.
    """

    classes: Float[Tensor, ""]
    regions: Float[Tensor, ""]
    l1: Float[Tensor, ""]
    diou: Float[Tensor, ""]
    flag: Float[Tensor, ""]

    def total(self) -> Float[Tensor, ""]:
        """Return the sum; all weights are 1 in the paper."""
        return torch.stack([getattr(self, field.name) for field in fields(self)]).sum()


class MatrCriterion(nn.Module):
    """Losses of the paper.

    Args:
        window: frames of a window.
        is_focal: focal loss for classes and regions (released scripts), otherwise cross-entropy (paper).
        uses_true_region: take the start offset at the annotated region. The released code takes it at the predicted
            one, where a wrong region gets the offset of another.
    """

    def __init__(self, window: int, *, is_focal: bool = True, uses_true_region: bool = False) -> None:
        super().__init__()
        self.window, self.is_focal, self.uses_true_region = window, is_focal, uses_true_region

    def forward(self, output: MatrOutput, targets: WindowTargets) -> MatrLosses:
        """Return the losses of windows."""
        targets = matched_targets(output, targets, self.window)
        has_action = targets.classes < output.classes.shape[-1] - 1
        number = has_action.sum().clamp(min=1)
        region = targets.regions if self.uses_true_region else output.regions.argmax(-1)
        offset = torch.stack([output.starts.gather(-1, region[..., None])[..., 0], output.ends], dim=-1)
        distance = (offset - targets.offsets).abs().mean(-1)
        overlap = diou_loss(self._segments(region, offset), self._segments(targets.regions, targets.offsets))
        return MatrLosses(
            self._classify(output.classes, targets.classes).mean(),
            _masked_sum(self._classify(output.regions, targets.regions), has_action) / number,
            _masked_sum(distance, has_action) / number,
            _masked_sum(overlap, has_action) / number,
            F.binary_cross_entropy_with_logits(output.flag, targets.flag.to(output.flag.dtype)),
        )

    def _segments(
        self, region: Int[Tensor, "lane query"], offset: Float[Tensor, "lane query 2"]
    ) -> Float[Tensor, "lane query 2"]:
        """Return start and end relative to the newest frame, in frames."""
        return -self.window * torch.stack([region + offset[..., 0], offset[..., 1]], dim=-1)

    def _classify(
        self, logits: Float[Tensor, "lane query class"], labels: Int[Tensor, "lane query"]
    ) -> Float[Tensor, "lane query"]:
        log_probability = logits.log_softmax(-1).gather(-1, labels[..., None])[..., 0]
        if not self.is_focal:
            return -log_probability
        return -0.25 * (1 - log_probability.exp()) ** 2 * log_probability


def matched_targets(output: MatrOutput, targets: WindowTargets, window: int) -> WindowTargets:
    """Return the targets in the order of the predictions that they are assigned to."""
    everything = torch.ones_like(targets.classes, dtype=torch.bool)
    order = hungarian(matching_cost(output, targets, window), everything)
    return WindowTargets(
        targets.classes.gather(1, order),
        targets.regions.gather(1, order),
        targets.offsets.gather(1, order[..., None].expand(-1, -1, 2)),
        targets.flag,
    )


@torch.no_grad()
def matching_cost(output: MatrOutput, targets: WindowTargets, window: int) -> Float[Tensor, "lane prediction target"]:
    """Return the negative sum of overlap and class probability of each prediction and target.

    The overlap divides by the length of both segments together with the gap between them, so that it is negative for
    disjoint ones. Background slots take part, with an end far in the future.
    """
    predicted = window * output.segments()
    start = targets.regions + targets.offsets[..., 0]
    wanted = -window * torch.stack([start, targets.offsets[..., 1]], dim=-1)
    overlap = hull_overlap(predicted[:, :, None], wanted[:, None])
    probability = output.classes.softmax(-1)
    index = targets.classes[:, None].expand(-1, probability.shape[1], -1)
    return -overlap - probability.gather(2, index)


def hull_overlap(
    first: Float[Tensor, "*#batch 2"], second: Float[Tensor, "*#batch 2"], least: float = 1.0
) -> Float[Tensor, "*batch"]:
    """Return the shared length over the distance from the first start to the last end; negative for disjoint segments.

    Args:
        first: start and end.
        second: likewise.
        least: shortest divisor.
    """
    shared, hull = _shared_and_hull(first, second)
    return shared / hull.clamp(min=least)


def diou_loss(predicted: Float[Tensor, "*batch 2"], wanted: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
    """Return 1 - IoU + (distance of the centers / hull)^2 of segments (start, end)."""
    shared, hull = _shared_and_hull(predicted, wanted)
    lengths = (predicted[..., 1] - predicted[..., 0]) + (wanted[..., 1] - wanted[..., 0])
    union = (lengths - shared).clamp(min=1e-8)
    centers = predicted.mean(-1) - wanted.mean(-1)
    return 1 - shared / union + (centers / hull.clamp(min=1e-8)) ** 2


def _shared_and_hull(
    first: Float[Tensor, "*#batch 2"], second: Float[Tensor, "*#batch 2"]
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Return the shared length, negative for disjoint segments, and that from the first start to the last end."""
    earliest, latest = torch.minimum(first, second), torch.maximum(first, second)
    return earliest[..., 1] - latest[..., 0], latest[..., 1] - earliest[..., 0]


def _masked_sum(values: Float[Tensor, "lane query"], mask: Bool[Tensor, "lane query"]) -> Float[Tensor, ""]:
    """Return the sum where the mask is True; background has no boundaries, whose losses may be infinite."""
    return values.masked_fill(~mask, 0).sum()
