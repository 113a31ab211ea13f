"""The front of the encoder: two padded convolutions that turn four feature frames into one, anew in every window."""

from typing import TypeVar

from jaxtyping import Float, Int
from torch import Tensor, arange, nn
from torch.nn import functional as F

Count = TypeVar("Count", int, Tensor)


def halved(length: Count) -> Count:
    """Return the frames of a padded convolution of stride 2."""
    return (length + 1) // 2


class WindowSubsampling(nn.Module):
    """Convolutions of width 3 and stride 2 with zero padding, twice, and a projection: ``ceil(n / 4)`` of n frames.

    Rows of different length give what each would give alone: what a convolution makes of padding is set to zero before
    the next one.

    Args:
        num_mels: features of a frame.
        channels: of the convolutions.
        dim: width of the output.

    Example:
        >>> import torch
        >>> frames, lengths = WindowSubsampling(20, 4, 8)(torch.zeros(2, 9, 20), torch.tensor([9, 3]))
        >>> frames.shape, lengths.tolist()
        (torch.Size([2, 3, 8]), [3, 1])
    """

    def __init__(self, num_mels: int, channels: int, dim: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, 2, 1)
        self.second = nn.Conv2d(channels, channels, 3, 2, 1)
        self.bands = halved(halved(num_mels))
        self.output = nn.Linear(channels * self.bands, dim)

    def forward(
        self, features: Float[Tensor, "row time mel"], lengths: Int[Tensor, " row"]
    ) -> tuple[Float[Tensor, "row frame dim"], Int[Tensor, " row"]]:
        """Return frames and how many of each row are valid; those beyond are meaningless.

        Args:
            features: rows of windows.
            lengths: valid feature frames of each; the rest must be finite.
        """
        x = _cut(features[:, None], lengths)
        for convolution in (self.first, self.second):
            lengths = halved(lengths)
            x = _cut(F.relu(convolution(x)), lengths)  # row channel time band
        frames: Tensor = self.output(x.transpose(1, 2).flatten(2))
        return frames, lengths


def _cut(x: Float[Tensor, "row channel time band"], lengths: Int[Tensor, " row"]) -> Float[Tensor, "row _ _ _"]:
    """Set what is beyond the length of each row to zero."""
    beyond = arange(x.shape[2], device=x.device) >= lengths[:, None]
    return x.masked_fill(beyond[:, None, :, None], 0)
