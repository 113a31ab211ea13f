"""Lesions in training images, which a network learns to replace by what is normal there."""

from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import check_range
from mnemic_vision.memmc_mae.data.lesions import LesionSettings, paste_lesion


@dataclass(frozen=True)
class RepairSettings:
    """How often, and what lesions, a network sees in normal training images.

    It reconstructs the image without the lesion, so what is visible and not normal is not copied. An addition to the
    paper, whose network sees normal images only: still no anomaly is needed, but lesions of the trained kinds are no
    longer unknown to the network, so that figures on pasted lesions must say which kinds these were.

    Attributes:
        share: of the training images, 0 to 1.
        lesions: that are pasted; their own seed is not used.

    Example:
        >>> image = torch.rand(1, 64, 64)
        >>> seen = RepairSettings(share=1.0)(image, image, torch.Generator().manual_seed(0))
        >>> seen.shape, torch.equal(seen, image)
        (torch.Size([1, 64, 64]), False)
    """

    share: float = 0.5
    lesions: LesionSettings = field(default_factory=partial(LesionSettings, contrast=(0.5, 3.0)))

    def __post_init__(self) -> None:
        check_range(self, 0, 1, "share")

    def __call__(
        self,
        image: Float[Tensor, "channel height width"],
        donor: Float[Tensor, "_ _ _"],
        generator: torch.Generator,
    ) -> Float[Tensor, "channel height width"] | None:
        """Return the image with a lesion, or None if it gets none; the same generator gives the same.

        Args:
            image: a normal image in [0, 1].
            donor: another one, for lesions that are pieces of other images.
            generator: of the draws.
        """
        chance, name = torch.rand((), generator=generator), torch.randint(2**31, (), generator=generator)
        if chance >= self.share:
            return None
        return paste_lesion(image, str(int(name)), self.lesions, donor).image
