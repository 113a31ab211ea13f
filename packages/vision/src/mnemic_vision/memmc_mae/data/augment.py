"""Random changes of training images that leave them looking like images of the same kind."""

from dataclasses import dataclass
from math import cos, radians, sin

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.errors import check_range


@dataclass(frozen=True)
class ImageAugmentation:
    """Strengths of the changes; the defaults suit chest radiographs and slices, which have a left and a right.

    What is cut out always lies within the image: no black corner and no mirrored margin appears that a detector would
    learn to call normal. The more an image is rotated, the less of it can be kept: 85 % at 5 degrees.

    Attributes:
        area: smallest share of the image that is kept; it is enlarged to the full size. Well below 0.8, the parts that
            are cut off make frames that no device takes.
        rotation: greatest angle in either direction, degrees.
        flip: probability of exchanging left and right; 0.5 suits endoscopy.
        brightness: greatest change of all values, of the full range.
        contrast: greatest relative change of the distances from the mean.

    Example:
        >>> image = torch.rand(1, 32, 32)
        >>> changed = ImageAugmentation()(image, torch.Generator().manual_seed(0))
        >>> changed.shape, torch.equal(changed, image)
        (torch.Size([1, 32, 32]), False)
        >>> torch.equal(ImageAugmentation(area=1.0, rotation=0.0)(image, torch.Generator()), image)
        True
    """

    area: float = 0.8
    rotation: float = 5.0
    flip: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0

    def __post_init__(self) -> None:
        check_range(self, 0.05, 1, "area")
        check_range(self, 0, 45, "rotation")
        check_range(self, 0, 1, "flip", "brightness", "contrast")

    def __call__(
        self, image: Float[Tensor, "channel height width"], generator: torch.Generator
    ) -> Float[Tensor, "channel height width"]:
        """Return the image, changed; the same state of the generator gives the same result."""
        # All are drawn always, so that one option does not change what another one does.
        area, angle, down, right, flip, brightness, contrast = torch.rand(7, generator=generator).tolist()
        if self.area < 1 or self.rotation > 0:
            share = self.area + (1 - self.area) * area
            image = _cut_out(image, share, radians(self.rotation * (2 * angle - 1)), (2 * down - 1, 2 * right - 1))
        if flip < self.flip:
            image = image.flip(-1)
        if self.brightness or self.contrast:
            mean = image.mean()
            image = (image - mean) * (1 + self.contrast * (2 * contrast - 1)) + mean
            image = (image + self.brightness * (2 * brightness - 1)).clamp(0, 1)
        return image


def _cut_out(
    image: Float[Tensor, "channel height width"], area: float, angle: float, place: tuple[float, float]
) -> Float[Tensor, "channel height width"]:
    """Return a rotated part of the image, enlarged to its size.

    Args:
        image: values in [0, 1].
        area: share of the image, made smaller if a part of this size rotated by the angle does not fit into it.
        angle: radians.
        place: row and column of the part's center, from -1 (as far up or left as possible) to 1.
    """
    height, width = image.shape[1:]
    # Half the sides of the rectangle around a rotated part, for a part as large as the image.
    needed = [
        (across * cos(angle) + along * abs(sin(angle))) / across for across, along in ((height, width), (width, height))
    ]
    side = min(area**0.5, 1 / max(needed))
    down, right = (offset * (1 - side * half) for offset, half in zip(place, needed, strict=True))
    # Coordinates run from -1 to 1 along both sides, so rotation needs the ratio of the sides.
    matrix = torch.tensor(
        [
            [side * cos(angle), -side * sin(angle) * height / width, right],
            [side * sin(angle) * width / height, side * cos(angle), down],
        ],
        dtype=image.dtype,
    )
    grid = F.affine_grid(matrix[None], [1, *image.shape], align_corners=False)
    # Bicubic: bilinear sampling would train on images less sharp than those that are judged.
    return F.grid_sample(image[None], grid, "bicubic", "border", align_corners=False)[0].clamp(0, 1)
