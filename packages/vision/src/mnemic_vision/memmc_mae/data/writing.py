"""Writing samples as a folder of image files."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mnemic_core.errors import UserError
from mnemic_core.temporary_files import replacing
from mnemic_vision.memmc_mae.data.sample import ImageSample


def write_mvtec(samples: Sequence[ImageSample], folder: str | Path) -> None:
    """Write samples as PNG in the layout of MVTec, with a further part ``val`` if there is one.

    Their names are the places: ``train/good/NAME.png``, ``test/DEFECT/NAME.png``. The mask of an anomalous image of
    ``test`` goes to ``ground_truth/DEFECT/NAME_mask.png``, that of ``val`` to ``ground_truth/val/DEFECT``. The folder
    appears complete or not at all.

    Raises:
        UserError: the folder exists.
    """
    folder = Path(folder)
    if folder.exists():
        raise UserError(f"{folder} exists; give a folder that does not exist yet")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replacing(folder) as temporary:
        temporary.mkdir()
        for sample in samples:
            _write(sample, temporary)


def _write(sample: ImageSample, folder: Path) -> None:
    place = folder / sample.name
    place.parent.mkdir(parents=True, exist_ok=True)
    _as_picture(sample.load()).save(place)
    mask = sample.load_mask()
    if mask is None or not sample.label:
        return
    part = "val" if sample.split == "val" else ""
    masks = folder / "ground_truth" / part / place.parent.name
    masks.mkdir(parents=True, exist_ok=True)
    _as_picture(mask[None].float()).save(masks / f"{place.stem}_mask.png")


def _as_picture(pixels: Float[Tensor, "channel height width"]) -> Image.Image:
    """Return an 8-bit picture of grey or RGB values in [0, 1]."""
    values = (pixels * 255).round().to(torch.uint8)
    return Image.fromarray(values[0].numpy() if len(values) == 1 else values.permute(1, 2, 0).numpy())
