"""A table ``index.csv`` of images with their labels."""

from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.data.labeled_folders import ANOMALOUS_NAMES, NORMAL_NAMES, SPLIT_NAMES
from mnemic_vision.memmc_mae.data.listing import ListedImage
from mnemic_vision.memmc_mae.data.sample import ANOMALOUS, NORMAL, Split
from mnemic_vision.memmc_mae.data.tables import check_files, read_rows

INDEX = "index.csv"
GROUP_COLUMNS = ("group", "finding", "class")  # the first one that there is
_LABELS: dict[str, int | None] = {
    "0": NORMAL,
    "1": ANOMALOUS,
    "": None,
    **dict.fromkeys(NORMAL_NAMES, NORMAL),
    **dict.fromkeys(ANOMALOUS_NAMES, ANOMALOUS),
}


def list_index(root: Path) -> list[ListedImage]:
    """Return the images of ``index.csv`` in a folder, whose files exist.

    Columns are ``path``, relative to the folder, and ``label``: ``normal`` or 0, ``anomalous`` or 1, nothing if it is
    unknown. Optional ones are ``split`` (train, val, test), ``mask`` (a path), ``group`` or ``finding`` or ``class``,
    ``source``, and ``patient``, whose images stay in one part.

    Raises:
        FileNotFoundError: there is no index, or a file that it lists does not exist.
        UserError: a column is missing, or a label or split is unknown.
    """
    table = root / INDEX
    images = [_listed(root, table, line, row) for line, row in read_rows(table, ("path", "label"))]
    check_files([image.path for image in images], table)
    check_files([image.mask_path for image in images if image.mask_path], table)
    return images


def _listed(root: Path, table: Path, line: int, row: dict[str, str]) -> ListedImage:
    label = row["label"].lower()
    if label not in _LABELS:
        raise UserError(f"{table}, line {line}: label must be normal (0) or anomalous (1), got {row['label']!r}")
    group = next((row[column] for column in GROUP_COLUMNS if column in row), "")
    mask = row.get("mask")
    return ListedImage(
        root / row["path"],
        _LABELS[label],
        _split(table, line, row.get("split", "")),
        group,
        row.get("source", ""),
        row.get("patient", ""),
        root / mask if mask else None,
    )


def _split(table: Path, line: int, name: str) -> Split | None:
    if name and name.lower() not in SPLIT_NAMES:
        raise UserError(f"{table}, line {line}: split must be train, val or test, got {name!r}")
    return SPLIT_NAMES.get(name.lower())
