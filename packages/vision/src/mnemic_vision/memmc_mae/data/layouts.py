"""Data sets as users have them: which layout a folder has, and its images."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

from mnemic_core.errors import UserError, check_choice
from mnemic_vision.memmc_mae.data.covidx import find_lists, list_covidx
from mnemic_vision.memmc_mae.data.hyper_kvasir import LABELED, SEGMENTED, list_hyper_kvasir
from mnemic_vision.memmc_mae.data.index_file import INDEX, list_index
from mnemic_vision.memmc_mae.data.labeled_folders import has_labeled_folders, list_labeled_folders
from mnemic_vision.memmc_mae.data.listing import ListedImage, Splits, as_samples
from mnemic_vision.memmc_mae.data.rsna import BOXES, list_rsna
from mnemic_vision.memmc_mae.data.sample import NORMAL, ImageSample
from mnemic_vision.picture_files import find_pictures

Layout: TypeAlias = Literal["folders", "index", "hyper_kvasir", "covidx", "rsna", "normals", "unlabeled"]


def open_images(name: Layout | Literal["auto"], root: str | Path, splits: Splits | None = None) -> list[ImageSample]:
    """Return the images of a data set; their pixels are read when they are needed.

    Layouts:

    - ``folders``: ``normal`` and ``anomalous``, or ``good`` and one folder for each defect, with or without ``train``,
      ``val``, ``test``, and masks: also MVTec and BMAD (`list_labeled_folders`);
    - ``index``: a table ``index.csv`` (`list_index`);
    - ``hyper_kvasir``, ``covidx``, ``rsna``: these data sets as they are published;
    - ``normals``: a folder of normal images, without any others;
    - ``unlabeled``: a folder of images of which nothing is known, or one image.

    Args:
        name: the layout; ``"auto"`` recognizes it, all but ``normals``.
        root: folder of the data set.
        splits: how images are divided where the data set does not say it; the default if None.

    Raises:
        FileNotFoundError: there is no such folder, or a file that a table lists does not exist.
        UserError: the folder has another layout or no normal images, or something in it is wrong.

    Example:
        >>> import tempfile
        >>> from mnemic_vision.memmc_mae.data import GeneratedTextures
        >>> place = Path(tempfile.mkdtemp()) / "made"
        >>> GeneratedTextures(num_train=2, num_val=2, num_test=2).write(place)
        >>> [(sample.name, sample.split, sample.label) for sample in open_images("auto", place)][:2]
        [('test/good/000.png', 'test', 0), ('test/grating/001.png', 'test', 1)]
    """
    root = Path(root)
    check_choice(Literal[Layout, "auto"], name=name)
    layout = find_layout(root) if name == "auto" else name
    images = _LISTS[layout](root)
    labels = {image.label for image in images} - {None}
    if labels and NORMAL not in labels:
        raise UserError(f"{root} has no normal images among {len(images)}; put some into a folder normal or good")
    return as_samples(root if root.is_dir() else root.parent, images, splits or Splits())


def find_layout(root: str | Path) -> Layout:
    """Return the layout of a folder: by its tables, then by the names of its folders; an image is ``unlabeled``.

    Raises:
        FileNotFoundError: there is no such file or folder.
        UserError: it contains no picture.
    """
    root = Path(root)
    if root.is_file():
        return "unlabeled"
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}; give one with images")
    signs: tuple[tuple[Layout, bool], ...] = (
        ("index", (root / INDEX).is_file()),
        ("rsna", (root / BOXES).is_file()),
        ("hyper_kvasir", (root / LABELED).is_dir() or (root / SEGMENTED).is_dir()),
        ("covidx", bool(find_lists(root))),
    )
    for layout, is_there in signs:
        if is_there:
            return layout
    return "folders" if has_labeled_folders(find_pictures(root), root) else "unlabeled"


def _list_normals(root: Path) -> list[ListedImage]:
    return [ListedImage(path, NORMAL) for path in find_pictures(root)]


def _list_unlabeled(root: Path) -> list[ListedImage]:
    return [ListedImage(path, None) for path in ([root] if root.is_file() else find_pictures(root))]


_LISTS: dict[Layout, Callable[[Path], list[ListedImage]]] = {
    "folders": list_labeled_folders,
    "index": list_index,
    "hyper_kvasir": list_hyper_kvasir,
    "covidx": list_covidx,
    "rsna": list_rsna,
    "normals": _list_normals,
    "unlabeled": _list_unlabeled,
}
