"""Folders named after what is in them: ``normal`` and ``anomalous``, MVTec, BMAD and the like."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.data.listing import ListedImage
from mnemic_vision.memmc_mae.data.masks import SUFFIX, add_pair
from mnemic_vision.memmc_mae.data.sample import ANOMALOUS, NORMAL, Split
from mnemic_vision.picture_files import find_pictures

NORMAL_NAMES = frozenset({"normal", "normals", "good", "healthy", "negative"})
ANOMALOUS_NAMES = frozenset({"anomalous", "anomaly", "abnormal", "bad", "ungood", "positive", "defect", "defective"})
SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
MASK_FOLDERS = frozenset({"ground_truth", "masks", "mask"})
_BMAD = ("img", "label")  # folders of images and of masks, below that of the class


@dataclass(frozen=True)
class _Place:
    """What the folders above a file say.

    Attributes:
        path: the file.
        split: part that a folder is named after.
        folders: the other folders, in lower case, from the root on.
        is_mask: below a folder of masks.
    """

    path: Path
    split: Split | None
    folders: tuple[str, ...]
    is_mask: bool

    @property
    def known_class(self) -> str:
        """Name of the folder that says normal or anomalous; "" if none does."""
        known = [name for name in self.folders if name in NORMAL_NAMES | ANOMALOUS_NAMES]
        return next((name for name in known if name in NORMAL_NAMES), known[0] if known else "")


def has_labeled_folders(paths: Iterable[Path], root: Path) -> bool:
    """Return whether a folder above one of the pictures says that they are normal, or anomalous."""
    return any(_place(path, root).known_class for path in paths)


def list_labeled_folders(root: Path) -> list[ListedImage]:
    """Return the images of a folder with a folder for each class, at any depth.

    A folder ``normal``, ``good``, ``healthy`` or ``negative`` holds normal images; every other class is anomalous, and
    a name such as ``crack`` becomes the group. Folders above the classes become the source, but for ``train``, ``val``
    and ``test``, which may be above or below the classes. Masks lie below ``ground_truth`` or ``masks``, in the folders
    of the classes or not, or as in BMAD in ``label`` beside ``img``. Masks without a part belong to images of ``test``
    if names are the same in several parts.

    Raises:
        FileNotFoundError: there is no such folder.
        UserError: an image lies in no folder of a class, or a mask has no image.
    """
    places = [_place(path, root) for path in find_pictures(root)]
    images = [place for place in places if not place.is_mask]
    for image in images:
        if not image.folders:
            raise UserError(f"{image.path} lies in no folder of a class; move it to one, such as normal or anomalous")
    masks = _pair_masks([place for place in places if place.is_mask], images)
    depth = _class_depth(images)
    return [replace(_listed(image, depth), mask_path=masks.get(image.path)) for image in images]


def _place(path: Path, root: Path) -> _Place:
    names = [folder.lower() for folder in path.relative_to(root).parts[:-1]]
    is_mask = any(name in MASK_FOLDERS for name in names)
    if names and names[-1] in _BMAD and all((path.parents[1] / part).is_dir() for part in _BMAD):
        is_mask |= names.pop() == "label"
    split = next((SPLIT_NAMES[name] for name in names if name in SPLIT_NAMES), None)
    folders = tuple(name for name in names if name not in SPLIT_NAMES and name not in MASK_FOLDERS)
    return _Place(path, split, folders, is_mask)


def _class_depth(images: Sequence[_Place]) -> int:
    """Return how many folders lie above those of the classes."""
    return min((image.folders.index(image.known_class) for image in images if image.known_class), default=0)


def _listed(place: _Place, depth: int) -> ListedImage:
    label = NORMAL if place.known_class in NORMAL_NAMES else ANOMALOUS
    below = [name for name in place.folders[depth:] if name != place.known_class] or [""]
    return ListedImage(place.path, label, place.split, group=below[0], source="/".join(place.folders[:depth]))


def _pair_masks(masks: Sequence[_Place], images: Sequence[_Place]) -> dict[Path, Path]:
    by_stem = defaultdict(list)
    for image in images:
        by_stem[image.path.stem].append(image)
    pairs: dict[Path, Path] = {}
    for mask in masks:
        stem = mask.path.stem
        same = by_stem.get(stem) or by_stem.get(stem.removesuffix(SUFFIX), [])
        add_pair(pairs, mask.path, [image.path for image in _matching(mask, same)])
    return pairs


def _matching(mask: _Place, images: Sequence[_Place]) -> list[_Place]:
    """Return the images that agree with the folders of a mask, the likelier ones if there are several."""
    depth = len(mask.folders)
    found = [
        image
        for image in images
        if mask.split in {None, image.split} and (not depth or image.folders[-depth:] == mask.folders)
    ]
    if len(found) > 1:
        found = [image for image in found if image.known_class not in NORMAL_NAMES]
    if len(found) > 1 and not mask.split:
        found = [image for image in found if image.split == "test"] or found
    return found
