"""The RSNA pneumonia challenge: chest radiographs in DICOM, with boxes around opacities."""

from collections import defaultdict
from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_vision.memmc_mae.data.listing import ListedImage
from mnemic_vision.memmc_mae.data.masks import Box
from mnemic_vision.memmc_mae.data.sample import ANOMALOUS, NORMAL
from mnemic_vision.memmc_mae.data.tables import read_rows

BOXES = "stage_2_train_labels.csv"
CLASSES = "stage_2_detailed_class_info.csv"
IMAGES = "stage_2_train_images"
_LABELS = {"Normal": NORMAL, "Lung Opacity": ANOMALOUS}
_OTHER = "No Lung Opacity / Not Normal"


def list_rsna(root: Path) -> list[ListedImage]:
    """Return the images of the classes ``Normal`` and ``Lung Opacity``; boxes become filled masks.

    The third class, neither normal nor with an opacity, is left out: it is neither training data nor a clear anomaly.
    Images may have been converted from DICOM to other formats at the same size.

    Raises:
        FileNotFoundError: a table, or the image of a patient, does not exist.
        UserError: a table is malformed, or a class is unknown.
    """
    boxes = _read_boxes(root / BOXES)
    if not (root / IMAGES).is_dir():
        raise FileNotFoundError(f"there is no folder {root / IMAGES} with the images of {root / BOXES}")
    files = {path.stem: path for path in sorted((root / IMAGES).iterdir())}
    images: dict[str, ListedImage] = {}
    for line, row in read_rows(root / CLASSES, ("patientId", "class")):
        patient, finding = row["patientId"], row["class"]
        if finding not in {*_LABELS, _OTHER}:
            raise UserError(f"{root / CLASSES}, line {line}: unknown class {finding!r}; known are {', '.join(_LABELS)}")
        if finding == _OTHER:
            continue
        if patient not in files:
            raise FileNotFoundError(f"{root / CLASSES}, line {line}: no image of {patient} in {root / IMAGES}")
        outlines = tuple(boxes.get(patient, ()))
        images[patient] = ListedImage(
            files[patient], _LABELS[finding], group=finding, patient=patient, boxes=outlines
        )  # a patient has a row for each box
    return list(images.values())


def _read_boxes(table: Path) -> dict[str, list[Box]]:
    boxes = defaultdict(list)
    for line, row in read_rows(table, ("patientId", "x", "y", "width", "height", "Target")):
        if row["Target"] != "1":
            continue
        try:
            left, top, width, height = (float(row[name]) for name in ("x", "y", "width", "height"))
        except ValueError as error:
            raise UserError(f"{table}, line {line}: a box needs numbers x, y, width, height: {error}") from error
        boxes[row["patientId"]].append((left, top, width, height))
    return boxes
