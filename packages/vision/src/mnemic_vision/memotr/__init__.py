"""MeMOTR: multi-object tracking by queries with a long-term memory (arXiv 2307.15700)."""

from mnemic_vision.memotr.config import MemotrConfig
from mnemic_vision.memotr.criterion import ClipCriterion, clip_loss
from mnemic_vision.memotr.inference import Thresholds, Tracker, advance, visible
from mnemic_vision.memotr.model import FrameOutput, Memotr
from mnemic_vision.memotr.targets import ClipBatch, Target
from mnemic_vision.memotr.tracks import TrackState
from mnemic_vision.memotr.weights import import_detector, load_official

__all__ = [
    "ClipBatch",
    "ClipCriterion",
    "FrameOutput",
    "Memotr",
    "MemotrConfig",
    "Target",
    "Thresholds",
    "TrackState",
    "Tracker",
    "advance",
    "clip_loss",
    "import_detector",
    "load_official",
    "visible",
]
