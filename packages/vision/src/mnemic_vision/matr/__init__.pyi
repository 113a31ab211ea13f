"""MATR: online temporal action localization with a memory of past segments (arXiv 2408.02957)."""

from .actions import Action as Action
from .actions import DetectedAction as DetectedAction
