"""Sequences in the layout of MOTChallenge, also used by DanceTrack, SportsMOT and most tools.

A sequence is a folder with ``img1/*.jpg``, and optionally ``gt/gt.txt`` and ``seqinfo.ini``.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypeAlias

from PIL import ExifTags, Image

from mnemic_core.errors import UserError
from mnemic_vision.memotr.data.ground_truth import DISTRACTORS, read_ground_truth
from mnemic_vision.memotr.data.sequence import Annotations, ImageFiles, TrackingSequence
from mnemic_vision.picture_files.still_image import open_image
from mnemic_vision.sequence_info import read_sequence_info
from mnemic_vision.video import is_image, list_images

Part: TypeAlias = Literal["all", "first_half", "second_half"]

_VEHICLE = 6  # tracks on vehicles are not scored in MOT20


class MotSequences:
    """One or several sequences in the layout of MOTChallenge.

    Ground truth is ``frame,id,left,top,width,height,mark,class,visibility`` with frames from 1 (DanceTrack and
    SportsMOT write 1,1,1 in the last three columns). Lines with mark 0 or of another class are not objects, but tracks
    on distractors are not scored (`OtherBoxes`). Frames are the images of ``img1`` in the order of their numbers;
    ``seqinfo.ini`` gives frame rate and length.

    Args:
        root: the folder of one sequence, a folder of sequences, or a plain folder of images (no ground truth).
        classes: class numbers to keep; the index of a number becomes the label.
        require_ground_truth: raise if a sequence has no ``gt/gt.txt``.
        part: half of each sequence, to train on one and validate on the other (MOT17 has no public validation ground
            truth); the first half includes the middle frame.

    Raises:
        FileNotFoundError: the folder, its images or required ground truth do not exist.
        UserError: a file is malformed; the message names file, line and remedy.

    Attributes:
        sequences: sorted by name.

    Example:
        >>> import tempfile
        >>> from mnemic_vision.memotr.data import GeneratedSequences
        >>> folder = Path(tempfile.mkdtemp())
        >>> GeneratedSequences(seed=1, num_sequences=2, num_frames=3, size=(96, 128)).write_mot_layout(folder)
        >>> [sequence.num_frames for sequence in MotSequences(folder).sequences]
        [3, 3]
    """

    def __init__(
        self,
        root: str | Path,
        *,
        classes: tuple[int, ...] = (1,),
        require_ground_truth: bool = False,
        part: Part = "all",
    ) -> None:
        self.sequences = [
            read_sequence(folder, classes=classes, require_ground_truth=require_ground_truth, part=part)
            for folder in find_sequences(root)
        ]


def find_sequences(root: str | Path) -> list[Path]:
    """Return the sequences in a folder, sorted by name, or the folder itself if it is one.

    Raises:
        FileNotFoundError: there is no such folder.
        UserError: it contains no sequence.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder; give a sequence (with img1/) or a folder of sequences")
    if _is_sequence(root) or any(map(is_image, root.iterdir())):
        return [root]
    folders = sorted(folder for folder in root.iterdir() if folder.is_dir())
    found = [folder for folder in folders if _is_sequence(folder)]
    if not found:
        deeper = [folder.name for folder in folders if any(map(_is_sequence, folder.iterdir()))]
        hint = f"did you mean one of its folders {', '.join(deeper)}?" if deeper else "a sequence has a folder img1"
        raise UserError(f"{root} contains no sequence: {hint}")
    return found


def _is_sequence(folder: Path) -> bool:
    """Whether a folder has files of the layout, even if the images are missing."""
    return any((folder / name).exists() for name in ("img1", "gt/gt.txt", "seqinfo.ini"))


def read_sequence(
    folder: Path, *, classes: tuple[int, ...] = (1,), require_ground_truth: bool = False, part: Part = "all"
) -> TrackingSequence:
    """Read one sequence; arguments and errors are those of `MotSequences`."""
    info = read_sequence_info(folder / "seqinfo.ini")
    images = folder / "img1" if _is_sequence(folder) else folder
    names = _frame_names(images, info.length)
    middle = len(names) // 2 + 1  # the usual split of MOT17 for validation
    chosen = {"all": slice(None), "first_half": slice(middle), "second_half": slice(middle, None)}[part]
    truth = folder / "gt" / "gt.txt"
    if require_ground_truth and not truth.exists():
        raise FileNotFoundError(f"{truth} does not exist; this needs ground truth for every sequence")
    return TrackingSequence(
        name=folder.resolve().name,
        frames=ImageFiles(images, names[chosen]),
        image_size=image_size(images / names[0]),
        frame_rate=info.frame_rate,
        annotations=_annotations(folder, truth, len(names), classes, chosen) if truth.exists() else None,
    )


def _annotations(folder: Path, truth: Path, num_frames: int, classes: tuple[int, ...], part: slice) -> Annotations:
    is_mot20 = folder.resolve().name.startswith("MOT20")
    distractors = (*DISTRACTORS, _VEHICLE) if is_mot20 else DISTRACTORS
    return read_ground_truth(truth, num_frames, classes, part, distractors)


def image_size(path: Path) -> tuple[int, int]:
    """Return (height, width) of an image file, as it is shown, from its header.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is not an image.
    """
    with open_image(path) as image:
        is_turned = image.getexif().get(ExifTags.Base.Orientation, 1) > 4
        return (image.width, image.height) if is_turned else (image.height, image.width)


def _frame_names(images: Path, length: int | None) -> list[str]:
    """Return the images of a sequence after checking that none is missing."""
    if not images.is_dir():
        raise FileNotFoundError(f"{images} does not exist; put the frames of the sequence there")
    names = [path.name for path in list_images(images)]
    if length is not None and len(names) < length:
        raise UserError(f"{images} has {len(names)} images but seqinfo.ini says seqLength={length}; copy it again")
    if images.name == "img1":
        _check_numbers(images, names)
    return names


def _check_numbers(images: Path, names: list[str]) -> None:
    """Raise for a gap in the numbers, after which the ground truth would be shifted."""
    matches = [re.search(r"(\d+)\.\w+$", name) for name in names]
    numbers = [int(match[1]) for match in matches if match]
    for name, number, following in zip(names, numbers, numbers[1:], strict=False):
        if following != number + 1:
            raise UserError(f"{images}: {name} is followed by number {following}, not {number + 1}; copy it again")


def write_mot_layout(sequences: Iterable[TrackingSequence], folder: str | Path) -> None:
    """Write sequences into a folder in the layout of MOTChallenge, with JPEG images."""
    for sequence in sequences:
        target = Path(folder) / sequence.name
        (target / "img1").mkdir(parents=True, exist_ok=True)
        for index in range(sequence.num_frames):
            pixels = sequence.image(index).permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(target / "img1" / f"{index + 1:06d}.jpg", quality=92)
        height, width = sequence.image_size
        (target / "seqinfo.ini").write_text(
            f"[Sequence]\nname={sequence.name}\nimDir=img1\nframeRate={sequence.frame_rate:g}\n"
            f"seqLength={sequence.num_frames}\nimWidth={width}\nimHeight={height}\nimExt=.jpg\n",
            encoding="utf-8",
        )
        if sequence.has_ground_truth:
            (target / "gt").mkdir(exist_ok=True)
            (target / "gt" / "gt.txt").write_text("".join(_ground_truth_lines(sequence)), encoding="utf-8")


def _ground_truth_lines(sequence: TrackingSequence) -> Iterable[str]:
    for index in range(sequence.num_frames):
        for identity, label, box, visibility in zip(*sequence.target_rows(index), strict=True):
            sides = ",".join(f"{side:.2f}" for side in box)
            yield f"{index + 1},{identity},{sides},1,{label + 1},{visibility:.3f}\n"
