"""Data sets in the layout of MOTChallenge, as distributed by their authors."""

from pathlib import Path

from mnemic_vision.memotr.data.mot import MotSequences, Part, find_sequences, read_sequence
from mnemic_vision.memotr.data.sequence import TrackingSequence

_DETECTORS = ("SDP", "FRCNN", "DPM")  # of MOT17, in order of preference; MeMOTR uses SDP


def read_dance_track(root: str | Path, split: str) -> list[TrackingSequence]:
    """Read DanceTrack, or SportsMOT, which has the same layout.

    Args:
        root: folder with the splits, each a folder of sequences.
        split: train, val or test; test has no ground truth.

    Raises:
        FileNotFoundError: the split, images or the ground truth of train or val are missing.
        UserError: a file is malformed.
    """
    return MotSequences(_split_folder(root, split), require_ground_truth=split != "test").sequences


def read_mot_challenge(root: str | Path, split: str, part: Part = "all") -> list[TrackingSequence]:
    """Read MOT17 or MOT20.

    MOT17 contains every video three times, with the detections of three detectors; one of them is read.

    Args:
        root: folder with the splits, or with a folder ``images`` that contains them.
        split: train or test; test has no ground truth.
        part: half of each sequence, for validation where only the training split has ground truth.

    Raises:
        FileNotFoundError: the split, images or the ground truth of train are missing.
        UserError: a file is malformed.
    """
    folders = one_detector(find_sequences(_split_folder(root, split)))
    return [read_sequence(folder, require_ground_truth=split != "test", part=part) for folder in folders]


def _split_folder(root: str | Path, split: str) -> Path:
    root = Path(root)
    candidates = [root / split, root / "images" / split]
    found = next((folder for folder in candidates if folder.is_dir()), None)
    if found is None:
        there = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
        raise FileNotFoundError(f"{candidates[0]} does not exist; {root} contains {', '.join(there) or 'no folder'}")
    return found


def one_detector(folders: list[Path]) -> list[Path]:
    """Return one folder for each video of MOT17, and all folders with other names."""
    chosen: dict[str, Path] = {}
    for folder in sorted(folders, key=_preference):
        video, _, detector = folder.name.rpartition("-")
        chosen.setdefault(video if detector in _DETECTORS else folder.name, folder)
    return sorted(chosen.values())


def _preference(folder: Path) -> int:
    detector = folder.name.rpartition("-")[2]
    return _DETECTORS.index(detector) if detector in _DETECTORS else 0
