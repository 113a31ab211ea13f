"""Tracking data: sequences of the common data sets or of a generated world, cut into clips and augmented."""

from mnemic_vision.memotr.data.augment import Clip, ClipAugmentation
from mnemic_vision.memotr.data.bdd100k import BDD100K_CLASSES, read_bdd100k
from mnemic_vision.memotr.data.clips import ClipDataset, collate_clips
from mnemic_vision.memotr.data.crowd_human import read_crowd_human
from mnemic_vision.memotr.data.datasets import read_dance_track, read_mot_challenge
from mnemic_vision.memotr.data.generated import GeneratedSequences
from mnemic_vision.memotr.data.mot import MotSequences, write_mot_layout
from mnemic_vision.memotr.data.sequence import Annotations, Sequence, TargetRows

__all__ = [
    "BDD100K_CLASSES",
    "Annotations",
    "Clip",
    "ClipAugmentation",
    "ClipDataset",
    "GeneratedSequences",
    "MotSequences",
    "Sequence",
    "TargetRows",
    "collate_clips",
    "read_bdd100k",
    "read_crowd_human",
    "read_dance_track",
    "read_mot_challenge",
    "write_mot_layout",
]
