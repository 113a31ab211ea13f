"""Simultaneous speech translation: the Augmented Memory Transformer with shiftable context (arXiv 2307.01377)."""

from .latency import Emission as Emission
from .latency import LatencyScores as LatencyScores
from .latency import score_latency as score_latency
from .latency import score_sentence as score_sentence
