"""Images of a data set as the network takes them, alone and in batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from mnemic_vision.memmc_mae import prepare
from mnemic_vision.memmc_mae.data import ImageAugmentation, ImageSample


@dataclass(frozen=True)
class ImageBatch:
    """Images of a batch.

    Attributes:
        images: in [0, 1].
        index: their places in the data set.
        samples: what is known of them.
    """

    images: Float[Tensor, "batch channel height width"]
    index: Int[Tensor, " batch"]
    samples: tuple[ImageSample, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def to(self, device: torch.device) -> "ImageBatch":
        """Return the batch with its images on a device."""
        return replace(self, images=self.images.to(device), index=self.index.to(device))

    def pin_memory(self) -> "ImageBatch":
        """Return the batch in memory that a GPU reads quickly."""
        return replace(self, images=self.images.pin_memory())

    @classmethod
    def collate(cls, items: Sequence[tuple[Tensor, int, ImageSample]]) -> "ImageBatch":
        """Return a batch of items of `PreparedImages`."""
        images, index, samples = zip(*items, strict=True)
        return cls(torch.stack(images), torch.tensor(index), tuple(samples))


class PreparedImages(Dataset[tuple[Tensor, int, ImageSample]]):
    """Images at the size of a network; read once, if they are to be kept.

    Args:
        samples: the images.
        size: side in pixels.
        channels: 1 or 3.
        in_memory: keep what was read.
    """

    def __init__(self, samples: Sequence[ImageSample], size: int, channels: int, *, in_memory: bool = True) -> None:
        self.samples, self.size, self.channels, self.in_memory = list(samples), size, channels, in_memory
        self._kept: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int, ImageSample]:
        return self.image(index), index, self.samples[index]

    def image(self, index: int) -> Float[Tensor, "channel size size"]:
        """Return an image."""
        if index in self._kept:
            return self._kept[index]
        image = prepare(self.samples[index].load(), self.size, self.channels)
        if self.in_memory:
            self._kept[index] = image
        return image

    def batches(self, size: int) -> Iterator[ImageBatch]:
        """Yield all images in their order."""
        for start in range(0, len(self), size):
            yield ImageBatch.collate([self[index] for index in range(start, min(start + size, len(self)))])


class AugmentedImages(Dataset[tuple[Tensor, int, ImageSample]]):
    """Training images of one epoch, changed at random.

    Args:
        images: the images.
        augmentation: what is changed; None: nothing.
        seed: of the changes.
        epoch: likewise, so that every epoch has others.
    """

    def __init__(self, images: PreparedImages, augmentation: ImageAugmentation | None, seed: int, epoch: int) -> None:
        self.images, self.augmentation, self.seed, self.epoch = images, augmentation, seed, epoch

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int, ImageSample]:
        image, place, sample = self.images[index]
        if self.augmentation is not None:
            key = (self.seed * 1_000_003 + self.epoch) * len(self) + index
            image = self.augmentation(image, torch.Generator().manual_seed(key % 2**63))
        return image, place, sample
