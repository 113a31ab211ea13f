"""MATR: online temporal action localization with a memory of past segments (arXiv 2408.02957)."""

from .actions import Action as Action
from .actions import DetectedAction as DetectedAction
from .config import MatrConfig as MatrConfig
from .criterion import MatrCriterion as MatrCriterion
from .model import Matr as Matr
from .output import MatrOutput as MatrOutput
from .weights import load_official as load_official
