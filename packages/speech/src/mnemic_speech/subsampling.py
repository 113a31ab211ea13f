"""The front of the encoder: two strided convolutions that turn four feature frames into one."""

from typing import TypeVar

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.errors import UserError

STRIDE = 4
"""Feature frames from one frame of the encoder to the next."""
FIELD = 7
"""Feature frames that one frame of the encoder covers."""
CONTEXT = 4
"""Feature frames before a chunk that its first frame covers, with causal subsampling."""

Count = TypeVar("Count", int, Tensor)


def subsampled_length(frames: Count, *, is_causal: bool) -> Count:
    """Return the number of complete encoder frames for a number of feature frames.

    Example:
        >>> subsampled_length(1000, is_causal=False), subsampled_length(1000, is_causal=True)
        (249, 250)
    """
    # A stride-2 convolution of width 3 makes (n - 1) // 2 frames of n; clamped, since too few frames would give -1.
    if is_causal:
        return (frames + 1) // STRIDE
    return (frames + (frames < 3) * 3 - 3) // STRIDE


class ConvSubsampling(nn.Module):
    """Convolutions of width 3 and stride 2 over time and frequency, twice, and a projection: frames at a quarter rate.

    Frame ``i`` covers the features ``4 i`` to ``4 i + 6``; with ``is_causal`` those of ``4 i - 4`` to ``4 i + 2``, so
    that every four feature frames complete one frame. The causal form is ours; the released code cannot stream.

    Args:
        num_mels: features of a frame, at least 7.
        dim: channels of the convolutions and width of the output.
        is_causal: pad :data:`CONTEXT` zero frames on the left.

    Example:
        >>> import torch
        >>> ConvSubsampling(num_mels=20, dim=8)(torch.zeros(1, 61, 20)).shape
        torch.Size([1, 14, 8])
    """

    def __init__(self, num_mels: int, dim: int, *, is_causal: bool = False) -> None:
        super().__init__()
        if num_mels < FIELD:
            raise UserError(f"num_mels must be at least {FIELD}, which two convolutions need, got {num_mels}")
        self.is_causal = is_causal
        self.bands = subsampled_length(num_mels, is_causal=False)
        self.conv = nn.Sequential(nn.Conv2d(1, dim, 3, 2), nn.ReLU(), nn.Conv2d(dim, dim, 3, 2), nn.ReLU())
        self.output = nn.Linear(dim * self.bands, dim)

    def forward(self, features: Float[Tensor, "batch time mel"]) -> Float[Tensor, "batch frame dim"]:
        """Return the frames of complete recordings; features too short for one frame are zero-padded."""
        before = CONTEXT if self.is_causal else 0
        missing = max(0, FIELD - before - features.shape[1])
        return self.subsample(F.pad(features, (0, 0, before, missing)))

    def subsample(self, features: Float[Tensor, "batch time mel"]) -> Float[Tensor, "batch frame dim"]:
        """Return the frames of unpadded features, such as a chunk preceded by its context."""
        if self.bands == 1:  # oneDNN's strided bf16 convolutions on AMX return garbage for one column: make two
            features = F.pad(features, (0, STRIDE))
        channels: Tensor = self.conv(features[:, None])
        frames: Tensor = self.output(channels[..., : self.bands].transpose(1, 2).flatten(2))
        return frames

    def lengths(self, features: Int[Tensor, " batch"], *, as_released: bool = False) -> Int[Tensor, " batch"]:
        """Return the number of valid encoder frames of each row.

        Args:
            features: valid feature frames of each row.
            as_released: count as the released code does, which subsamples the mask twice, rounding up: a padded row can
                count one frame that covers padding.
        """
        if as_released:
            return (features + 3) // STRIDE
        return subsampled_length(features, is_causal=self.is_causal)
