"""What the images of a data set look like, to see whether a network was trained on images like given ones."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.preparation import prepare

_SIDE = 16  # of the thumbnail
_BINS = 16
_LEAST_DEVIATION = 0.05  # of values in [0, 1]: differences below it are not seen
_USUAL = 0.95  # share of the data set's own held-out images whose distance counts as usual


def describe_image(pixels: Float[Tensor, "channel height width"]) -> Float[Tensor, " value"]:
    """Return the brightness of a thumbnail and the square roots of a histogram of brightness.

    Args:
        pixels: values in [0, 1], grey or RGB, of any size.

    Example:
        >>> describe_image(torch.rand(3, 40, 50)).shape
        torch.Size([272])
    """
    grey = prepare(pixels, _SIDE, 1)
    full = prepare(pixels, 4 * _SIDE, 1)
    counts = torch.histc(full, _BINS, 0, 1)
    return torch.cat([grey.flatten(), (counts / counts.sum()).sqrt()])


@dataclass(frozen=True)
class ImageDomain:
    """Mean and deviation of the descriptions of images, and how far images of the same kind are from them.

    It holds no image. A brain slice, a radiograph and a texture are told apart; two hospitals are not.

    Attributes:
        mean: of `describe_image` over the training images.
        deviation: likewise.
        usual: distance that 95 % of held-out images of the same kind do not exceed.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    usual: float

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.deviation) or not self.usual > 0 or not min(self.deviation, default=0.0) > 0:
            raise UserError("the description of training images is damaged: train the network again")

    @classmethod
    def fit(
        cls,
        train: Iterable[Float[Tensor, "_ _ _"]],
        held_out: Iterable[Float[Tensor, "_ _ _"]],
    ) -> "ImageDomain":
        """Return the domain of training images.

        Args:
            train: training images.
            held_out: further images of the same kind; without any, the training images count.
        """
        described = torch.stack([describe_image(image) for image in train])
        deviation = described.std(0, correction=0).clamp(min=_LEAST_DEVIATION)
        mean = described.mean(0)
        others = [describe_image(image) for image in held_out]
        distances = _distance(torch.stack(others) if others else described, mean, deviation)
        usual = max(float(distances.quantile(_USUAL)), _LEAST_DEVIATION)
        return cls(_rounded(mean), _rounded(deviation), round(usual, 4))

    def distance(self, image: Float[Tensor, "channel height width"]) -> float:
        """Return how far an image is from the training images: up to about 1 for one of their kind.

        Example:
            >>> train = [torch.rand(1, 32, 32) for _ in range(8)]
            >>> domain = ImageDomain.fit(train, [])
            >>> domain.distance(train[0]) < 2 < domain.distance(torch.ones(1, 32, 32))
            True
        """
        described = describe_image(image)[None]
        mean, deviation = torch.tensor(self.mean), torch.tensor(self.deviation)
        if len(mean) != described.shape[1]:
            raise UserError("the description of training images is of another version: train the network again")
        return float(_distance(described, mean, deviation)) / self.usual


def _distance(
    described: Float[Tensor, "image value"], mean: Float[Tensor, " value"], deviation: Float[Tensor, " value"]
) -> Float[Tensor, " image"]:
    return ((described - mean) / deviation).square().mean(1).sqrt()


def _rounded(values: Float[Tensor, " value"]) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values.tolist())
