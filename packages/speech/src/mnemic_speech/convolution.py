"""The convolution module of a Conformer block, with padding masked."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.errors import UserError


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalization with padding excluded from the statistics."""

    def forward(
        self, x: Float[Tensor, "batch channel time"], padding: Bool[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch channel time"]:
        """Return the normalized frames; ``padding`` is True at frames to exclude."""
        if padding is None or not self.training:
            return super().forward(x)
        exact, valid = x.float(), (~padding)[:, None].float()
        count = valid.sum().clamp(min=1)
        mean = (exact * valid).sum((0, 2)) / count
        centered = exact - mean[:, None]
        variance = (centered.square() * valid).sum((0, 2)) / count
        self._update_running_stats(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        normal = centered * ((variance + self.eps).rsqrt() * self.weight)[:, None] + self.bias[:, None]
        return normal.to(x.dtype)

    @torch.no_grad()
    def _update_running_stats(self, mean: Float[Tensor, " channel"], variance: Float[Tensor, " channel"]) -> None:
        """Update the running statistics as ``nn.BatchNorm1d`` does, with the unbiased variance."""
        assert self.momentum is not None
        for running, found in ((self.running_mean, mean), (self.running_var, variance)):
            assert running is not None
            running.lerp_(found.to(running.dtype), self.momentum)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)


class ConvolutionModule(nn.Module):
    """Gated linear unit, depthwise convolution over time, batch normalization, swish, projection.

    Conformer (Gulati et al. 2020, arXiv:2005.08100, section 2.2).

    Args:
        dim: width of frames.
        kernel_size: frames of the convolution, an odd number.
        is_causal: a frame sees the ``kernel_size - 1`` frames before it and none after.
    """

    def __init__(self, dim: int, kernel_size: int = 31, *, is_causal: bool = False) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise UserError(f"kernel_size must be odd, so that a frame is in the middle, got {kernel_size}")
        self.context = kernel_size - 1
        self.is_causal = is_causal
        self.expand = nn.Linear(dim, 2 * dim)
        self.depthwise = nn.Conv1d(dim, dim, kernel_size, groups=dim)
        self.norm = MaskedBatchNorm(dim)
        self.contract = nn.Linear(dim, dim)

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        padding: Bool[Tensor, "batch time"] | None = None,
        earlier: Float[Tensor, "batch context dim"] | None = None,
    ) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch context dim"]]:
        """Return the frames, and the last inputs of the depthwise convolution, with which a stream continues.

        Args:
            x: the frames.
            padding: True at frames to treat as zeros.
            earlier: last inputs returned for the preceding frames; None at the start: zeros.
        """
        gated = F.glu(self.expand(x), dim=-1)
        if padding is not None:
            gated = gated.masked_fill(padding[..., None], 0)
        before, after = (self.context, 0) if self.is_causal else (self.context // 2, self.context // 2)
        padded = F.pad(gated, (0, 0, before, after)) if earlier is None else torch.cat([earlier, gated], 1)
        mixed = self.norm(self.depthwise(padded.transpose(1, 2)), padding)
        output: Tensor = self.contract(F.silu(mixed).transpose(1, 2))
        return output, padded[:, padded.shape[1] - self.context :]
