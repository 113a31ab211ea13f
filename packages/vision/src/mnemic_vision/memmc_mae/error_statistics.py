"""How large errors of normal images are at each place, to tell an anomaly from what is hard to reconstruct."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isqrt

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.errors import UserError

_LEAST_SHARE = 0.1
_LEAST = 1e-6
_DIGITS = 6  # significant ones, of numbers in a checkpoint


@dataclass(frozen=True)
class ErrorStatistics:
    """Mean and deviation of the anomaly maps of normal images on a square grid of places, row by row.

    Edges and other detail are reconstructed worse than flat regions in every image; standardized maps leave that out.
    Images need to be aligned, such as radiographs of one kind. Plain numbers, which a checkpoint holds.

    Attributes:
        mean: of the maps.
        deviation: above 0.

    Raises:
        UserError: the numbers are of no square grid, or no deviations.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __post_init__(self) -> None:
        places = len(self.mean)
        if len(self.deviation) != places or isqrt(places) ** 2 != places or not min(self.deviation, default=0.0) > 0:
            raise UserError("the statistics of normal errors are damaged: train the network again")

    @classmethod
    def fit(cls, maps: Iterable[Float[Tensor, "_ height width"]], grid: int) -> "ErrorStatistics":
        """Return the statistics of normal images.

        A deviation below a tenth of the average one is raised to it: with few images, some places happen to have nearly
        equal errors, and would stand out in every other image.

        Args:
            maps: batches of anomaly maps that are not standardized.
            grid: places in a row and in a column, such as patches; the maps are averaged over each.

        Raises:
            UserError: fewer than two images.
        """
        pooled = [F.adaptive_avg_pool2d(batch.detach()[:, None], grid).flatten(1).double().cpu() for batch in maps]
        count = sum(len(batch) for batch in pooled)
        if count < 2:
            raise UserError(f"statistics of normal errors need at least two images, got {count}")
        places = torch.cat(pooled)  # image place
        deviation = places.std(0)
        least = (_LEAST_SHARE * deviation.mean()).clamp(min=_LEAST)
        return cls(_rounded(places.mean(0)), _rounded(deviation.maximum(least)))

    def standardize(self, maps: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        """Return how many deviations maps are above the mean; negative below it."""
        size = (maps.shape[-2], maps.shape[-1])
        mean, deviation = (self._enlarge(values, size).to(maps) for values in (self.mean, self.deviation))
        return (maps - mean) / deviation

    def _enlarge(self, values: tuple[float, ...], size: tuple[int, int]) -> Float[Tensor, "height width"]:
        side = isqrt(len(values))
        return F.interpolate(torch.tensor(values).view(1, 1, side, side), size, mode="bilinear")[0, 0]


def _rounded(values: Float[Tensor, " place"]) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values.tolist())
