"""MeMOTR: multi-object tracking by queries with a long-term memory (arXiv 2307.15700)."""

from .build import build_memotr
from .checkpoint import TrackerCheckpoint, TrackerSettings
from .config import MemotrConfig
from .criterion import ClipCriterion
from .inference import Thresholds, Tracker, advance, visible
from .model import Memotr
from .output import FrameOutput
from .targets import ClipBatch, Target
from .tracks import TrackState
from .training import build_criterion, clip_loss
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
    "build_criterion",
    "build_memotr",
    "clip_loss",
    "import_detector",
    "load_official",
    "visible",
]
