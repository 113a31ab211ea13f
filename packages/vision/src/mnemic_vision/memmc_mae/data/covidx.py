"""COVIDx: lists of chest radiographs that were merged from several collections."""

import re
from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_core.loading import name_some
from mnemic_vision.memmc_mae.data.labeled_folders import SPLIT_NAMES
from mnemic_vision.memmc_mae.data.listing import ListedImage
from mnemic_vision.memmc_mae.data.sample import ANOMALOUS, NORMAL, Split
from mnemic_vision.memmc_mae.data.tables import check_files

_LIST = re.compile(r"(train|val|test)(_.*)?\.txt", re.IGNORECASE)
_CLASSES = {"normal": NORMAL, "negative": NORMAL, "pneumonia": ANOMALOUS, "covid-19": ANOMALOUS, "positive": ANOMALOUS}


def find_lists(root: Path) -> list[Path]:
    """Return the lists ``train*.txt``, ``val*.txt`` and ``test*.txt`` of a folder or of ``labels`` in it."""
    return sorted(path for folder in (root, root / "labels") for path in folder.glob("*.txt") if _LIST.match(path.name))


def list_covidx(root: Path) -> list[ListedImage]:
    """Return the images that the lists name, in ``train``, ``val`` and ``test``, also below ``data``, or in ``images``.

    A line is ``PATIENT FILE CLASS SOURCE``; the patient may contain spaces, so it is read from the right. Normal are
    ``normal`` and ``negative``; note that ``negative`` of the lists with two classes includes pneumonia other than
    COVID-19. The source of an image betrays its class in this set: report results for each source.

    Raises:
        FileNotFoundError: an image does not exist.
        UserError: there are lists of several versions, or a line is malformed.
    """
    lists = find_lists(root)
    by_split: dict[Split, Path] = {}
    for path in lists:
        split = SPLIT_NAMES[path.name.lower().split("_")[0].removesuffix(".txt")]
        if split in by_split:
            raise UserError(
                f"{path.parent} has several lists for {split}; keep one of {name_some([p.name for p in lists])}"
            )
        by_split[split] = path
    return [image for split, path in by_split.items() for image in _read(root, split, path)]


def _read(root: Path, split: Split, table: Path) -> list[ListedImage]:
    lines = table.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    folder = _image_folder(root, split)
    images = [_listed(folder, split, table, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    check_files([image.path for image in images], table)
    return images


def _image_folder(root: Path, split: Split) -> Path:
    places = (root / split, root / "data" / split, root / "images")
    return next((place for place in places if place.is_dir()), root)


def _listed(folder: Path, split: Split, table: Path, number: int, line: str) -> ListedImage:
    fields = line.strip().rsplit(" ", 3)
    if len(fields) != 4 or fields[2].lower() not in _CLASSES:
        raise UserError(f"{table}, line {number}: expected PATIENT FILE CLASS SOURCE, got {line.strip()[:100]!r}")
    patient, name, finding, source = fields
    return ListedImage(folder / name, _CLASSES[finding.lower()], split, finding, source, patient)
