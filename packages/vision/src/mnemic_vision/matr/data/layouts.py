"""Layouts of known data sets: the folder of this project, THUMOS14 as MATR's code has it, OpenTAD's, and MUSES."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from mnemic_core.errors import UserError
from mnemic_core.loading import name_some
from mnemic_vision.matr.data.feature_set import FeatureSet
from mnemic_vision.matr.data.problems import OnProblem, raise_problem
from mnemic_vision.matr.data.stream import ActionStreams

Modality: TypeAlias = Literal["rgb", "flow"]


def read_annotated_streams(
    folder: str | Path, subset: str | None = None, *, on_problem: OnProblem = raise_problem
) -> ActionStreams:
    """Open the streams of a folder; their frames are read when they are needed.

    The folder holds ``annotations.json`` with ``classes`` and, by stream name in ``database``, ``subset``, ``duration``
    in seconds, ``annotations`` of ``label`` and ``segment``, and optionally ``num_steps`` and ``fps``, the frames
    and frames per second of the stream. In any folder below lies ``NAME.npy``, ``NAME.npz`` (arrays `joints`, `imu`,
    `features`, or `rgb` and `flow`) or ``NAME.h5`` for each, or one HDF5 file of them all.

    Args:
        folder: the folder.
        subset: such as ``"train"``; None for all streams.
        on_problem: gets what is wrong with a stream, which is then left out; the default raises it.

    Raises:
        FileNotFoundError: there is no such folder or no ``annotations.json`` in it.
        UserError: the annotations are malformed, files are missing, or a stream is wrong.

    Example:
        >>> import tempfile
        >>> from mnemic_vision.matr.data import GeneratedActions
        >>> place = Path(tempfile.mkdtemp()) / "made"
        >>> GeneratedActions(num_streams=3, num_frames=100).write(place)
        >>> train = read_annotated_streams(place, "train")
        >>> len(train), train.num_channels, train.streams[0].load().shape
        (3, 16, (100, 16))
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; give one with annotations.json and its streams")
    return FeatureSet(folder / "annotations.json", (folder,), ignored_labels=()).open(subset, on_problem=on_problem)


def thumos14(root: str | Path, modalities: Sequence[Modality] = ("rgb", "flow")) -> FeatureSet:
    """Return THUMOS14 as the official code of MATR and of OAT has it: ``thumos14_v2.json``, ``rgb`` and ``flow``.

    The official pickles become the folders of arrays by `convert_thumos14`. The file has 30 annotations beyond the end
    of their videos, which the official evaluation counts; they are kept. Subsets are ``train`` and ``test``.
    """
    root = Path(root)
    return FeatureSet(root / "thumos14_v2.json", tuple(root / modality for modality in modalities), keep_outside=True)


def muses(root: str | Path) -> FeatureSet:
    """Return MUSES with ``muses.json`` and ``muses_i3d_features``; subsets ``train`` and ``test``."""
    root = Path(root)
    return FeatureSet(root / "muses.json", (root / "muses_i3d_features",))


def open_tad(
    root: str | Path,
    features: str,
    *,
    feature_stride: int,
    sample_stride: int = 1,
    offset_frames: int = 0,
    lookahead_frames: int | None = None,
) -> FeatureSet:
    """Return a data set of OpenTAD: ``annotations/*_anno.json``, ``annotations/category_idx.txt``, ``features/NAME``.

    The numbers are those of OpenTAD's configs, such as stride 4 and offset 8 for the I3D features of THUMOS14. Videos
    of ``missing_files.txt`` in the folder of the features are left out. Subsets are ``training`` and ``validation``.

    Args:
        root: folder of the data set.
        features: name of the folder of features.
        feature_stride: frames of the video from one row to the next.
        sample_stride: every how many-th row is used.
        offset_frames: frame of the video that the first row belongs to.
        lookahead_frames: frames behind it that the features have seen; None: as many as ``offset_frames``.

    Raises:
        UserError: there is not one annotation file.
    """
    root = Path(root)
    files = sorted((root / "annotations").glob("*_anno.json"))
    if len(files) != 1:
        found = name_some([file.name for file in files]) or "none"
        raise UserError(f"{root / 'annotations'} must have one file *_anno.json, found {found}")
    folder, classes = root / "features" / features, root / "annotations" / "category_idx.txt"
    missing = folder / "missing_files.txt"
    return FeatureSet(
        files[0],
        (folder,),
        classes=classes if classes.exists() else None,
        missing=missing if missing.exists() else None,
        feature_stride=feature_stride,
        sample_stride=sample_stride,
        offset_frames=offset_frames,
        lookahead_frames=lookahead_frames,
    )
