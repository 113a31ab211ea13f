"""Training targets of windows (official `dataset.py`)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import inf

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from mnemic_core.errors import check_range
from mnemic_vision.matr.config import MatrConfig

NO_END = -1e4  # end offset of background slots in the official code, which the matching sees


@dataclass(frozen=True)
class LabelRule:
    """Which windows are to find an action; the defaults are the paper's for windows of 64 frames.

    Args:
        detect: an action is a target up to this many frames after its end.
        anticipate: and from this many frames before its end; such instances are not emitted before they end.
        min_overlap: a window has an action if its temporal IoU with one is above this.
    """

    detect: int = 16
    anticipate: int = 16
    min_overlap: float = 0.01

    def __post_init__(self) -> None:
        check_range(self, 1, inf, "detect")
        check_range(self, 0, inf, "anticipate")
        check_range(self, 0, 1, "min_overlap")


@dataclass(frozen=True)
class FrameActions:
    """The actions of a stream in feature frames.

    Attributes:
        starts: first frame of each action, not rounded.
        ends: likewise its end.
        labels: class from 0.
    """

    starts: Float[Tensor, " action"]
    ends: Float[Tensor, " action"]
    labels: Int[Tensor, " action"]

    @classmethod
    def from_lists(cls, starts: Sequence[float], ends: Sequence[float], labels: Sequence[int]) -> "FrameActions":
        """Return the actions of plain numbers, in double precision as in the official code."""
        return cls(
            torch.tensor(starts, dtype=torch.float64),
            torch.tensor(ends, dtype=torch.float64),
            torch.tensor(labels, dtype=torch.long),
        )


@dataclass(frozen=True)
class WindowTargets:
    """What the network is to predict for windows; `MatrOutput` explains regions and offsets.

    Attributes:
        classes: class of each instance; the number of classes stands for background.
        regions: start region; 0 for background.
        offsets: start offset in the region, and end offset, in windows.
        flag: True at windows that overlap an action.
    """

    classes: Int[Tensor, "lane query"]
    regions: Int[Tensor, "lane query"]
    offsets: Float[Tensor, "lane query 2"]
    flag: Bool[Tensor, " lane"]

    def to(self, device: torch.device) -> "WindowTargets":
        """Return a copy on a device."""
        return WindowTargets(*(getattr(self, field.name).to(device) for field in fields(self)))


def window_targets(
    actions: FrameActions, now: Int[Tensor, " lane"], config: MatrConfig, rule: LabelRule | None = None
) -> WindowTargets:
    """Return the targets of the windows that end at the given frames.

    Of more instances than the network has queries, those that end nearest to the frame are kept; the official code
    fails there.

    Args:
        actions: of the stream.
        now: index of the newest frame of each window.
        config: sizes of the network.
        rule: which windows are to find an action; None: as in the paper.
    """
    rule = rule or LabelRule()
    window, queries = config.window, config.num_queries
    since_start = now.double()[:, None] - actions.starts  # lane action
    since_end = now.double()[:, None] - actions.ends
    is_target = (since_end < rule.detect - 1) & (since_end > -rule.anticipate)
    region = (since_start / window).floor().clamp(0, config.num_regions - 1)
    columns = {
        "classes": (actions.labels.expand_as(region), config.num_classes),
        "regions": (region.long(), 0),
        "start": ((since_start / window - region).float(), 0.0),
        "end": ((since_end / window).float(), NO_END),
    }
    slots = _slots(is_target, since_end.abs(), queries)
    filled = {name: _fill(values, slots, empty) for name, (values, empty) in columns.items()}
    return WindowTargets(
        filled["classes"],
        filled["regions"],
        torch.stack([filled["start"], filled["end"]], dim=-1),
        _overlaps(since_start, since_end, window, rule.min_overlap),
    )


def _slots(
    is_target: Bool[Tensor, "lane action"], distance: Float[Tensor, "lane action"], queries: int
) -> Int[Tensor, "lane query"]:
    """Return the action of each slot in the order of the actions, -1 for background."""
    rank = distance.masked_fill(~is_target, inf).argsort(dim=1, stable=True).argsort(dim=1)
    kept = is_target & (rank < queries)
    place = torch.where(kept, kept.cumsum(1) - 1, queries)  # what is left out goes to a last slot, cut off below
    slots = torch.full((len(kept), queries + 1), -1, device=kept.device)
    index = torch.arange(kept.shape[1], device=kept.device).expand_as(place)
    return slots.scatter(1, place, index)[:, :queries]


def _fill(
    values: Shaped[Tensor, "lane action"], slots: Int[Tensor, "lane query"], empty: int | float
) -> Shaped[Tensor, "lane query"]:
    """Return the values of the actions in the slots."""
    if not values.shape[1]:
        return torch.full(slots.shape, empty, dtype=values.dtype, device=values.device)
    return values.gather(1, slots.clamp(min=0)).masked_fill(slots < 0, empty)


def _overlaps(
    since_start: Float[Tensor, "lane action"], since_end: Float[Tensor, "lane action"], window: int, min_overlap: float
) -> Bool[Tensor, " lane"]:
    """Return True at windows whose temporal IoU with any action is above a limit."""
    # Relative to the newest frame the window is [-window, 0] and an action [-since_start, -since_end].
    shared = (-since_end).clamp(max=0) - (-since_start).clamp(min=-window)
    union = (window + since_start - since_end - shared).clamp(min=1)
    return (shared.clamp(min=0) / union > min_overlap).any(1)
