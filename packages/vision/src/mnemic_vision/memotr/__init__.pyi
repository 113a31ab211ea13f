"""MeMOTR: multi-object tracking by queries with a long-term memory (arXiv 2307.15700)."""

from .checkpoint import TrackerCheckpoint, TrackerSettings
from .config import MemotrConfig
from .criterion import ClipCriterion, clip_loss
from .inference import Thresholds, Tracker, advance, visible
from .model import FrameOutput, Memotr
from .targets import ClipBatch, Target
from .tracks import TrackState
from .weights import import_detector, load_official

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
    "TrackerCheckpoint",
    "TrackerSettings",
    "advance",
    "clip_loss",
    "import_detector",
    "load_official",
    "visible",
]
