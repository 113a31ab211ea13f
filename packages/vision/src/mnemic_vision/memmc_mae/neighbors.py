"""Baseline without training: distance to the nearest normal images in the features of a frozen network."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.config import FeatureConfig
from mnemic_vision.memmc_mae.targets import FeatureTarget

NUM_NEIGHBORS = 5


class PooledFeatures:
    """Features of a frozen network, averaged over each image.

    Args:
        target: the network.
    """

    def __init__(self, target: FeatureTarget) -> None:
        self.target = target.eval()

    @classmethod
    def from_weights(cls, path: str | Path, backbone: str = "tf_efficientnet_lite0") -> "PooledFeatures":
        """Return the features of a network whose weights are in a file.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: it does not fit the network.
        """
        target = FeatureTarget(FeatureConfig(backbone))
        target.load_backbone(path)
        return cls(target)

    def __call__(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch value"]:
        """Return one vector an image, of images in [0, 1]; grey ones are repeated."""
        color = images.expand(-1, 3, -1, -1)
        device = self.target.mean.device
        return self.target.raw(color.to(device)).mean(1).cpu()


@dataclass(frozen=True)
class NearestNeighbors:
    """Scores by the mean cosine distance to the nearest normal images.

    Attributes:
        normal: features of normal images, of length 1.
        num_neighbors: how many of them count.

    Example:
        >>> normal = torch.tensor([[1.0, 0.0], [0.9, 0.1]])
        >>> scores = NearestNeighbors.fit([normal], num_neighbors=2).score(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> bool(scores[0] < scores[1])
        True
    """

    normal: Float[Tensor, "image value"]
    num_neighbors: int = NUM_NEIGHBORS

    @classmethod
    def fit(
        cls, features: Iterable[Float[Tensor, "_ value"]], num_neighbors: int = NUM_NEIGHBORS
    ) -> "NearestNeighbors":
        """Return the baseline for batches of features of normal images.

        Raises:
            UserError: there is no image.
        """
        batches = list(features)
        if not batches:
            raise UserError("nearest neighbors need normal training images, got none")
        normal = F.normalize(torch.cat(batches), dim=1)
        return cls(normal, min(num_neighbors, len(normal)))

    def score(self, features: Float[Tensor, "batch value"]) -> Float[Tensor, " batch"]:
        """Return the mean distance of each image to its nearest neighbors, 0 to 2."""
        distance = 1 - F.normalize(features, dim=1) @ self.normal.T
        return distance.topk(self.num_neighbors, largest=False).values.mean(1)
