"""Normal images to train on, and all images of a part for validation, test and prediction."""

from collections.abc import Iterable
from math import inf
from typing import Any

from torch.utils.data import DataLoader

from mnemic_anomaly.images import AugmentedImages, ImageBatch, PreparedImages
from mnemic_anomaly.sources import ImageSource
from mnemic_core.errors import UserError, check_range
from mnemic_kit.data import EpochShare, ResumableLoader, SplitData
from mnemic_vision.memmc_mae.data import (
    ImageAugmentation,
    ImageSample,
    LesionSettings,
    training_normals,
    with_lesions,
)


class AnomalyData(SplitData):
    """Images of data sets that are divided into train, val and test.

    Trained is on the normal images of ``train`` alone, whatever else is in it.

    Args:
        images: the data sets, put together.
        lesions: paste lesions into the normal images of val and test and leave out the others, where no anomalies are
            labeled; null: judge by the images as they are.
        image_size: side in pixels; that of the network.
        channels: 1 or 3; those of the network.
        augmentation: what is changed at random in training images; null: nothing, so that frozen features are computed
            once.
        batch_size: images in a batch of one process.
        num_workers: processes that load images.
        in_memory: keep images that were read.
        seed: of order and augmentation; the command line sets it to ``seed_everything``.
    """

    contents = "images"

    def __init__(
        self,
        images: list[ImageSource],
        lesions: LesionSettings | None = None,
        image_size: int = 224,
        channels: int = 3,
        augmentation: ImageAugmentation | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        in_memory: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(images, images, images, seed)
        self.lesions, self.image_size, self.channels = lesions, image_size, channels
        self.augmentation, self.batch_size = augmentation, batch_size
        self.num_workers, self.in_memory = num_workers, in_memory
        check_range(self, 1, inf, "batch_size", "image_size")
        check_range(self, 0, inf, "num_workers")
        self._samples: list[ImageSample] | None = None

    @property
    def description(self) -> str:
        """The training data in one line, for the provenance of checkpoints."""
        return " + ".join(f"{each.name} {each.root or each.textures}" for each in self.sources["train"])

    @property
    def steps_per_epoch(self) -> int:
        """Training steps of an epoch, in all processes together."""
        return len(self.split("train")) // self.batch_size

    def open_split(self, split: str, stage: str) -> PreparedImages:
        """Return the images of a part; those of unknown label count in prediction only.

        Raises:
            UserError: there are none, except for validation, without which training is possible.
        """
        chosen = self._choose(split)
        if stage != "predict":
            chosen = [sample for sample in chosen if sample.label is not None]
        if not chosen and (split == "test" or stage == "validate"):
            raise UserError(f"the data has no images in its part {split}: name another data set")
        return PreparedImages(chosen, self.image_size, self.channels, in_memory=self.in_memory)

    def epoch_loader(self, train: PreparedImages, share: EpochShare) -> ResumableLoader:
        """Return the training images of one epoch."""
        items = AugmentedImages(train, self.augmentation, self.seed, share.epoch)
        return ResumableLoader(items, share, self.batch_size, ImageBatch.collate, num_workers=self.num_workers)

    def whole_loader(self, opened: PreparedImages) -> Iterable[Any]:
        """Return all images in their order."""
        if not len(opened):
            return []
        return DataLoader(opened, batch_size=self.batch_size, collate_fn=ImageBatch.collate)

    @property
    def samples(self) -> list[ImageSample]:
        """The images of all parts."""
        if self._samples is None:
            self._samples = [sample for source in self.sources["train"] for sample in source.open()]
        return self._samples

    def _choose(self, split: str) -> list[ImageSample]:
        if split == "train":
            return training_normals(self.samples)
        chosen = [sample for sample in self.samples if sample.split == split]
        if self.lesions is None:
            return chosen
        normals = [sample for sample in chosen if sample.label == 0]
        return with_lesions(normals, training_normals(self.samples), self.lesions)
