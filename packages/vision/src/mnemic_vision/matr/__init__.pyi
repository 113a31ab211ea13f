"""MATR: online temporal action localization with a memory of past segments (arXiv 2408.02957)."""

from .actions import Action as Action
from .actions import DetectedAction as DetectedAction
from .checkpoint import LocalizerCheckpoint as LocalizerCheckpoint
from .checkpoint import LocalizerSettings as LocalizerSettings
from .config import MatrConfig as MatrConfig
from .criterion import MatrCriterion as MatrCriterion
from .emission import EmissionRule as EmissionRule
from .inference import Clock as Clock
from .inference import OnlineLocalizer as OnlineLocalizer
from .labels import LabelRule as LabelRule
from .model import Matr as Matr
from .output import MatrOutput as MatrOutput
from .schedule import CyclicSchedule as CyclicSchedule
from .streaming.engine import StreamingMatr as StreamingMatr
from .weights import load_official as load_official
