"""Tracking data: sequences of the common data sets or of a generated world, cut into clips and augmented."""

from .augment import Clip as Clip
from .augment import ClipAugmentation as ClipAugmentation
from .bdd100k import BDD100K_CLASSES as BDD100K_CLASSES
from .bdd100k import read_bdd100k as read_bdd100k
from .clips import ClipDataset as ClipDataset
from .clips import collate_clips as collate_clips
from .crowd_human import read_crowd_human as read_crowd_human
from .datasets import read_dance_track as read_dance_track
from .datasets import read_mot_challenge as read_mot_challenge
from .generated import GeneratedSequences as GeneratedSequences
from .mot import MotSequences as MotSequences
from .mot import write_mot_layout as write_mot_layout
from .sequence import Annotations as Annotations
from .sequence import OtherBoxes as OtherBoxes
from .sequence import OtherKind as OtherKind
from .sequence import TargetRows as TargetRows
from .sequence import TrackingSequence as TrackingSequence
