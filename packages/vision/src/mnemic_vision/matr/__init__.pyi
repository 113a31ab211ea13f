"""MATR: online temporal action localization with a memory of past segments (arXiv 2408.02957)."""

from .actions import Action as Action
from .actions import DetectedAction as DetectedAction
from .checkpoint import LocalizerCheckpoint as LocalizerCheckpoint
from .checkpoint import LocalizerSettings as LocalizerSettings
from .clock import Clock as Clock
from .config import MatrConfig as MatrConfig
from .criterion import MatrCriterion as MatrCriterion
from .emission import EmissionRule as EmissionRule
from .inference import OnlineLocalizer as OnlineLocalizer
from .labels import LabelRule as LabelRule
from .metrics import LocalizationScores as LocalizationScores
from .metrics import evaluate_actions as evaluate_actions
from .metrics import paired_interval as paired_interval
from .metrics import scores_tables as scores_tables
from .model import Matr as Matr
from .output import MatrOutput as MatrOutput
from .results import read_results as read_results
from .results import results_text as results_text
from .results import write_results as write_results
from .schedule import CyclicSchedule as CyclicSchedule
from .streaming.engine import StreamingMatr as StreamingMatr
from .video import VideoLocalizer as VideoLocalizer
from .weights import load_official as load_official
