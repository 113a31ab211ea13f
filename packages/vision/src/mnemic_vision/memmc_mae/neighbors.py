"""Baselines without training: distance to the nearest normal images or patches in the features of a frozen network."""

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
BANK_SIZE = 10_000  # patches of normal images; with five times as many the scores are the same


class FrozenFeatures:
    """Features of a frozen network, for each patch or averaged over each image.

    Args:
        target: the network.
    """

    def __init__(self, target: FeatureTarget) -> None:
        self.target = target.eval()

    @classmethod
    def from_weights(cls, path: str | Path, backbone: str = "tf_efficientnet_lite0") -> "FrozenFeatures":
        """Return the features of a network whose weights are in a file.

        Raises:
            FileNotFoundError: there is no such file.
            UserError: it does not fit the network.
        """
        target = FeatureTarget(FeatureConfig(backbone))
        target.load_backbone(path)
        return cls(target)

    def patches(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch patch value"]:
        """Return a vector of each patch, of images in [0, 1]; grey ones are repeated."""
        color = images.expand(-1, 3, -1, -1)
        return self.target.raw(color.to(self.target.mean.device)).cpu()

    def pooled(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch value"]:
        """Return the mean vector of each image."""
        return self.patches(images).mean(1)


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


@dataclass(frozen=True)
class NearestPatches:
    """Maps by the cosine distance of each patch to the nearest patch of normal images, as in PatchCore.

    PatchCore (arXiv 2106.08265) chooses the patches that it keeps; here they are drawn at random.

    Attributes:
        bank: standardized patches of normal images, of length 1.
        mean: of the patches, by which all are standardized.
        deviation: likewise.

    Example:
        >>> normal = torch.randn(6, 4, 8)
        >>> NearestPatches.fit([normal], num_images=6).distances(normal[:2]).max() < 1e-6
        tensor(True)
    """

    bank: Float[Tensor, "kept value"]
    mean: Float[Tensor, " value"]
    deviation: Float[Tensor, " value"]

    @classmethod
    def fit(
        cls, features: Iterable[Float[Tensor, "_ patch value"]], num_images: int, bank_size: int = BANK_SIZE
    ) -> "NearestPatches":
        """Return the baseline for batches of patches of normal images; the same patches are drawn each time.

        Args:
            features: of a frozen network.
            num_images: number of all images, of which equally many patches are kept.
            bank_size: about how many patches are kept.

        Raises:
            UserError: there is no image.
        """
        generator = torch.Generator().manual_seed(0)
        each = max(1, bank_size // max(1, num_images))
        kept = [image[torch.randperm(len(image), generator=generator)[:each]] for batch in features for image in batch]
        if not kept:
            raise UserError("nearest patches need normal training images, got none")
        patches = torch.cat(kept)
        mean, deviation = patches.mean(0), patches.std(0).clamp(min=1e-6)
        return cls(F.normalize((patches - mean) / deviation, dim=1), mean, deviation)

    def distances(self, features: Float[Tensor, "batch patch value"]) -> Float[Tensor, "batch patch"]:
        """Return the distance of each patch to its nearest neighbor, 0 to 2."""
        standardized = F.normalize((features - self.mean) / self.deviation, dim=-1)
        return torch.stack([1 - (image @ self.bank.T).amax(1) for image in standardized])  # one image: bounded memory
