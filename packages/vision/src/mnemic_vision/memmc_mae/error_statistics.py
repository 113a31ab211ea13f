"""How large errors of normal images are at each place, to tell an anomaly from what is hard to reconstruct."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError

_LEAST_SHARE = 0.1
_LEAST = 1e-6


@dataclass(frozen=True)
class ErrorStatistics:
    """Mean and deviation of the anomaly maps of normal images at each pixel.

    Edges and other detail are reconstructed worse than flat regions in every image; standardized maps leave that out.
    Images need to be aligned, such as radiographs of one kind.

    Attributes:
        mean: of the maps.
        deviation: above 0.
    """

    mean: Float[Tensor, "height width"]
    deviation: Float[Tensor, "height width"]

    @classmethod
    def fit(cls, maps: Iterable[Float[Tensor, "_ height width"]]) -> "ErrorStatistics":
        """Return the statistics of normal images.

        A deviation below a tenth of the average one is raised to it: with few images, some pixels happen to have nearly
        equal errors, and would stand out in every other image.

        Args:
            maps: batches of anomaly maps that are not standardized, of images that the network was not trained on.

        Raises:
            UserError: fewer than two images.
        """
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for batch in maps:
            exact = batch.detach().double()
            count += len(batch)
            total = total.to(exact.device) + exact.sum(0)
            squares = squares.to(exact.device) + exact.square().sum(0)
        if count < 2:
            raise UserError(f"statistics of normal errors need at least two images, got {count}")
        mean = total / count
        deviation = ((squares - count * mean.square()) / (count - 1)).clamp(min=0).sqrt()
        least = (_LEAST_SHARE * deviation.mean()).clamp(min=_LEAST)
        return cls(mean.float(), deviation.maximum(least).float())

    def standardize(self, maps: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        """Return how many deviations maps are above the mean; negative below it.

        Raises:
            UserError: if the maps have another size.
        """
        if maps.shape[1:] != self.mean.shape:
            expected, given = ("{} x {}".format(*size) for size in (self.mean.shape, maps.shape[1:]))
            raise UserError(
                f"statistics of normal errors are for maps of {expected} pixels, got {given}: fit them anew"
            )
        return (maps - self.mean.to(maps)) / self.deviation.to(maps)
