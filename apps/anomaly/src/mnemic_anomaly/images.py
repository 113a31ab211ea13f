"""Images of a data set as the network takes them, alone and in batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from mnemic_vision.memmc_mae import prepare
from mnemic_vision.memmc_mae.data import ImageAugmentation, ImageSample, RepairSettings


class Item(NamedTuple):
    """One image of a data set.

    Attributes:
        image: in [0, 1].
        place: in the data set.
        sample: what is known of it.
        seen: the same with a lesion that the network learns to repair; None: without.
    """

    image: Float[Tensor, "channel height width"]
    place: int
    sample: ImageSample
    seen: Float[Tensor, "channel height width"] | None = None


@dataclass(frozen=True)
class ImageBatch:
    """Images of a batch.

    Attributes:
        images: in [0, 1].
        index: their places in the data set.
        samples: what is known of them.
        seen: what the network sees instead, with lesions that it learns to repair; None: the images.
        has_lesion: True where it differs from the image.
    """

    images: Float[Tensor, "batch channel height width"]
    index: Int[Tensor, " batch"]
    samples: tuple[ImageSample, ...]
    seen: Float[Tensor, "batch channel height width"] | None = None
    has_lesion: Bool[Tensor, " batch"] | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def to(self, device: torch.device) -> "ImageBatch":
        """Return the batch with its images on a device."""
        return self._map(lambda tensor: tensor.to(device))

    def pin_memory(self) -> "ImageBatch":
        """Return the batch in memory that a GPU reads quickly."""
        return self._map(lambda tensor: tensor.pin_memory())

    @classmethod
    def collate(cls, items: Sequence[Item]) -> "ImageBatch":
        """Return a batch of items of `PreparedImages` or `AugmentedImages`."""
        images, index, samples, seen = zip(*items, strict=True)
        batch = cls(torch.stack(images), torch.tensor(index), tuple(samples))
        changed = [each is not None for each in seen]
        if not any(changed):
            return batch
        shown = torch.stack([image if each is None else each for image, each in zip(images, seen, strict=True)])
        return replace(batch, seen=shown, has_lesion=torch.tensor(changed))

    def _map(self, change: Callable[[Tensor], Tensor]) -> "ImageBatch":
        changed: dict[str, Any] = {
            name: change(value) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **changed)


class PreparedImages(Dataset[Item]):
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

    def __getitem__(self, index: int) -> Item:
        return Item(self.image(index), index, self.samples[index])

    def image(self, index: int) -> Float[Tensor, "channel size size"]:
        """Return an image."""
        if index in self._kept:
            return self._kept[index]
        image = prepare(self.samples[index].load(), self.size, self.channels)
        if self.in_memory:
            self._kept[index] = image
        return image

    def batch(self, start: int, size: int) -> ImageBatch:
        """Return some images in their order."""
        return ImageBatch.collate([self[index] for index in range(start, min(start + size, len(self)))])


class AugmentedImages(Dataset[Item]):
    """Training images of one epoch, changed at random.

    Args:
        images: the images.
        augmentation: what is changed; None: nothing.
        repair: lesions that the network sees and learns to repair; None: none.
        seed: of the changes.
        epoch: likewise, so that every epoch has others.
    """

    def __init__(
        self,
        images: PreparedImages,
        augmentation: ImageAugmentation | None,
        repair: RepairSettings | None,
        seed: int,
        epoch: int,
    ) -> None:
        self.images, self.augmentation, self.repair = images, augmentation, repair
        self.seed, self.epoch = seed, epoch

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Item:
        item = self.images[index]
        generator = torch.Generator().manual_seed(((self.seed * 1_000_003 + self.epoch) * len(self) + index) % 2**63)
        if self.augmentation is not None:
            item = item._replace(image=self.augmentation(item.image, generator))
        if self.repair is None:
            return item
        donor = int(torch.randint(len(self), (), generator=generator))
        seen = self.repair(item.image, self.images.image(donor), generator)
        return item._replace(seen=seen)
