"""MeMOTR: multi-object tracking by queries with a long-term memory (arXiv 2307.15700)."""

from .appearance import AppearanceMemory as AppearanceMemory
from .appearance import AppearanceSettings as AppearanceSettings
from .build import build_memotr as build_memotr
from .checkpoint import TrackerCheckpoint as TrackerCheckpoint
from .checkpoint import TrackerSettings as TrackerSettings
from .config import MemotrConfig as MemotrConfig
from .criterion import ClipCriterion as ClipCriterion
from .inference import Thresholds as Thresholds
from .inference import Tracker as Tracker
from .inference import advance as advance
from .inference import visible as visible
from .model import Memotr as Memotr
from .output import FrameOutput as FrameOutput
from .targets import ClipBatch as ClipBatch
from .targets import Target as Target
from .tracks import TrackState as TrackState
from .training import build_criterion as build_criterion
from .training import clip_loss as clip_loss
from .weights import import_detector as import_detector
from .weights import load_official as load_official
