"""Hyper-Kvasir: frames of endoscopy, with outlined polyps."""

from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.data.listing import ListedImage
from mnemic_vision.memmc_mae.data.masks import pair_by_stem
from mnemic_vision.memmc_mae.data.sample import ANOMALOUS, NORMAL
from mnemic_vision.picture_files import find_pictures

LABELED = "labeled-images"
SEGMENTED = "segmented-images"
NORMAL_CLASSES = frozenset({"bbps-2-3", "cecum", "normal-cecum"})
POLYPS = frozenset({"polyp", "polyps"})


def list_hyper_kvasir(root: Path) -> list[ListedImage]:
    """Return frames of the clean colon and of the cecum as normal ones, and polyps as anomalous ones.

    The 1,000 outlined polyps are copies of frames in the folder of polyps, under other names: where they are there,
    that folder is not used, so no copy gets into another part. Masks are JPEG files of the same name. There are no
    patient ids and no parts; look for near-duplicates with `find_duplicates`.

    Raises:
        FileNotFoundError: the labeled images are missing.
        UserError: there are no polyps, or a mask or image has no counterpart.
    """
    labeled = find_pictures(root / LABELED)
    normals = [ListedImage(path, NORMAL) for path in labeled if path.parent.name in NORMAL_CLASSES]
    polyps = _outlined(root / SEGMENTED) if (root / SEGMENTED).is_dir() else []
    polyps = polyps or [ListedImage(path, ANOMALOUS, group="polyp") for path in labeled if path.parent.name in POLYPS]
    if not polyps:
        raise UserError(f"{root} has neither {SEGMENTED} nor a folder polyps in {LABELED}")
    return [*normals, *polyps]


def _outlined(folder: Path) -> list[ListedImage]:
    images = find_pictures(folder / "images")
    masks = pair_by_stem(find_pictures(folder / "masks"), images)
    without = [image for image in images if image not in masks]
    if without:
        raise UserError(f"{without[0]} has no mask of its name in {folder / 'masks'}")
    return [ListedImage(image, ANOMALOUS, group="polyp", mask_path=masks[image]) for image in images]
