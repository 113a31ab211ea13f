"""Ground truth of frames, and batches of clips."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Target:
    """Ground truth of one frame.

    Attributes:
        boxes: cxcywh, normalized to the image without padding.
        labels: class, from 0.
        ids: identity, unique in the data set.
    """

    boxes: Float[Tensor, "object 4"]
    labels: Int[Tensor, " object"]
    ids: Int[Tensor, " object"]

    def to(self, device: torch.device | str) -> "Target":
        """Return a copy on another device."""
        return Target(self.boxes.to(device), self.labels.to(device), self.ids.to(device))


@dataclass(frozen=True)
class ClipBatch:
    """Clips of equal length.

    Attributes:
        images: RGB normalized with ImageNet's mean and standard deviation, zero at padding.
        padding: True right of and below the image; all frames of a clip share one size.
        targets: ground truth by frame and sample.
    """

    images: Float[Tensor, "batch frame 3 height width"]
    padding: Bool[Tensor, "batch height width"]
    targets: list[list[Target]]

    def to(self, device: torch.device | str) -> "ClipBatch":
        """Return a copy on another device."""
        targets = [[target.to(device) for target in frame] for frame in self.targets]
        return ClipBatch(self.images.to(device), self.padding.to(device), targets)
