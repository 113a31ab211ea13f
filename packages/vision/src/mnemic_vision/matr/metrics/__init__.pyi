"""Evaluation of action localization: average precision, detection delay, duration ranges and paired intervals."""

from .evaluation import evaluate_actions as evaluate_actions
from .instances import Protocol as Protocol
from .interval import paired_interval as paired_interval
from .scores import DurationScores as DurationScores
from .scores import InstanceCounts as InstanceCounts
from .scores import LocalizationScores as LocalizationScores
from .tables import scores_tables as scores_tables
