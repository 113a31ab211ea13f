"""Sources of images for training and evaluation, by name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.data import GeneratedTextures, ImageSample, Splits, open_images


@dataclass(frozen=True)
class ImageSource:
    """One data set with its parts train, val and test.

    Args:
        name: layout of the folder; ``auto`` recognizes it, ``generated`` needs no files.
        root: folder of the data set; not for ``generated``.
        splits: how images are divided where the data set does not say it.
        textures: number, size and seed of generated images.
    """

    name: Literal["auto", "generated", "folders", "index", "hyper_kvasir", "covidx", "rsna", "normals", "unlabeled"] = (
        "auto"
    )
    root: Path | None = None
    splits: Splits = Splits()
    textures: GeneratedTextures = GeneratedTextures()

    def open(self) -> list[ImageSample]:
        """Return the images.

        Raises:
            FileNotFoundError: there is no such folder.
            UserError: the folder is not given or has another layout.
        """
        if self.name == "generated":
            return self.textures.open()
        if self.root is None:
            raise UserError(f"data source {self.name} needs root, the folder of the data set")
        return open_images(self.name, self.root, self.splits)
