"""Pictures as patch tokens of a vision transformer."""

from typing import Any

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mnemic_core.errors import UserError
from mnemic_retrieval.murag.config import TowerConfig


class VisionTower(nn.Module):
    """A transformer of timm without weights from elsewhere; they are loaded with the rest of the network.

    Args:
        config: which one.

    Attributes:
        num_patches: tokens of a picture.
        dim: their width.
        image_size: height and width of pictures in pixels.

    Raises:
        UserError: timm has no such network, or it has no patch tokens.
    """

    network: Any  # timm declares no common type

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        try:
            self.network = timm.create_model(config.name, pretrained=False, num_classes=0, **config.options)
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            raise UserError(f"tower {config.name!r} with {dict(config.options)}: {error}") from error
        if not hasattr(self.network, "patch_embed"):
            raise UserError(f"tower {config.name!r} has no patch tokens: choose a vision transformer")
        self.num_patches: int = self.network.patch_embed.num_patches
        self.dim: int = self.network.num_features
        height, width = self.network.patch_embed.img_size
        self.image_size: tuple[int, int] = (height, width)
        self.is_frozen = config.is_frozen
        if config.is_frozen:
            self.requires_grad_(False)
        statistics = {name: self.network.default_cfg.get(name, (0.5,) * 3) for name in ("mean", "std")}
        for name, values in statistics.items():
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> "VisionTower":
        """Set the mode; a frozen tower stays in evaluation mode, without dropout."""
        super().train(mode and not self.is_frozen)
        return self

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch patch channel"]:
        """Return the patch tokens of pictures with values in [0, 1]."""
        if tuple(images.shape[2:]) != self.image_size:
            raise UserError(f"pictures must be {self.image_size} pixels for this tower, got {tuple(images.shape[2:])}")
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        tokens: Tensor = self.network.forward_features((images - mean) / std)
        return tokens[:, -self.num_patches :]  # class and register tokens come first
