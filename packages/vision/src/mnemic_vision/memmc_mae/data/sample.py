"""An image of a data set: what is known about it, and how to load it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from jaxtyping import Bool, Float
from torch import Tensor

from mnemic_core.errors import UserError

Split: TypeAlias = Literal["train", "val", "test"]
NORMAL, ANOMALOUS = 0, 1


@dataclass(frozen=True)
class ImageSample:
    """One image; its pixels are read when they are needed.

    Attributes:
        name: unique in the data set: the path relative to its root, with ``/``.
        split: part of the data set.
        label: 0 normal, 1 anomalous, None unknown. Training uses the normal images of ``train`` only.
        group: kind of defect or finding; "" if none is given.
        path: file of the image; None for a generated one.
        mask_path: file of the mask; None if there is none.
        load: returns the image, channel 1 or 3, in [0, 1], at its own size. Raises `UserError` or
            ``FileNotFoundError`` for a file that cannot be read.
        load_mask: returns True at anomalous pixels, at the size of the image; None if they are not known. In a set
            with masks, a normal image has a mask without any True.
        source: hospital or collection. A detector may recognize the source instead of the anomaly, so results are
            reported for each where there are several.

    Example:
        >>> import torch
        >>> image = torch.zeros(1, 4, 4)
        >>> ImageSample("a.png", "test", 0, "", None, None, lambda: image, lambda: None).load().shape
        torch.Size([1, 4, 4])
    """

    name: str
    split: Split
    label: int | None
    group: str
    path: Path | None
    mask_path: Path | None
    load: Callable[[], Float[Tensor, "channel height width"]]
    load_mask: Callable[[], Bool[Tensor, "height width"] | None]
    source: str = ""


def training_normals(samples: Sequence[ImageSample]) -> list[ImageSample]:
    """Return the normal images of the training part.

    Raises:
        UserError: there are none.
    """
    normals = [sample for sample in samples if sample.split == "train" and sample.label == NORMAL]
    if not normals:
        raise UserError(f"training needs normal images, found none in the train part of {len(samples)} images")
    return normals
