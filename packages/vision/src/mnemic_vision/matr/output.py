"""Output of the network for windows."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class MatrOutput:
    """What the network predicts for each window.

    Attributes:
        classes: logits of the classes, the background last.
        regions: logits of the start regions: current window, each window before it, everything older.
        starts: for each region, how far the start lies before the region's newest frame, in windows.
        ends: how far the end lies before the newest frame of the window, in windows; negative: after it.
        flag: logit of the probability that the window overlaps an action.
    """

    classes: Float[Tensor, "lane query class_and_background"]
    regions: Float[Tensor, "lane query region"]
    starts: Float[Tensor, "lane query region"]
    ends: Float[Tensor, "lane query"]
    flag: Float[Tensor, " lane"]

    def has_action(self, threshold: float = 0.5) -> Bool[Tensor, " lane"]:
        """Return True at windows whose flag probability is above a threshold."""
        return self.flag.sigmoid() > threshold

    def segments(self) -> Float[Tensor, "lane query 2"]:
        """Return start and end of each instance relative to the newest frame, in windows; negative: in the past."""
        region = self.regions.argmax(-1, keepdim=True)
        starts = region[..., 0] + self.starts.gather(-1, region)[..., 0]
        return -torch.stack([starts, self.ends], dim=-1)

    def rows(self, number: int) -> "MatrOutput":
        """Return the output of the first windows."""
        return MatrOutput(*(getattr(self, field.name)[:number] for field in fields(self)))
