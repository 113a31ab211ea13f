"""The training loss: squared error of masked and of visible patches."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mnemic_core.errors import check_range


class ReconstructionLoss(nn.Module):
    """Mean squared error over patches, with a weight for the visible ones.

    ``(sum over masked e_p + w sum over visible e_p) / (masked + w visible)`` with ``e_p`` the mean squared error of a
    patch. Masked autoencoders have ``w = 0``, after which what they predict at visible patches means nothing; anomalies
    that are visible show only with ``w > 0``.

    Args:
        visible_weight: ``w``, 0 or more.
    """

    def __init__(self, visible_weight: float = 1.0) -> None:
        super().__init__()
        self.visible_weight = visible_weight
        check_range(self, 0, float("inf"), "visible_weight")

    def forward(
        self,
        predicted: Float[Tensor, "*batch patch value"],
        target: Float[Tensor, "*batch patch value"],
        masked: Bool[Tensor, "*batch patch"],
    ) -> Float[Tensor, ""]:
        """Return the loss.

        Args:
            predicted: patches that the network reconstructs.
            target: patches of the image.
            masked: True at patches that the encoder does not see.
        """
        error = (predicted - target).square().mean(-1)
        weight = torch.where(masked, 1.0, self.visible_weight)
        return (error * weight).sum() / weight.sum()
