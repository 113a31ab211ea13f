"""Tracking data: sequences of the common data sets or of a generated world, cut into clips and augmented."""

from .augment import Clip, ClipAugmentation
from .bdd100k import BDD100K_CLASSES, read_bdd100k
from .clips import ClipDataset, collate_clips
from .crowd_human import read_crowd_human
from .datasets import read_dance_track, read_mot_challenge
from .generated import GeneratedSequences
from .mot import MotSequences, write_mot_layout
from .sequence import Annotations, TargetRows, TrackingSequence

__all__ = [
    "BDD100K_CLASSES",
    "Annotations",
    "Clip",
    "ClipAugmentation",
    "ClipDataset",
    "GeneratedSequences",
    "MotSequences",
    "TargetRows",
    "TrackingSequence",
    "collate_clips",
    "read_bdd100k",
    "read_crowd_human",
    "read_dance_track",
    "read_mot_challenge",
    "write_mot_layout",
]
