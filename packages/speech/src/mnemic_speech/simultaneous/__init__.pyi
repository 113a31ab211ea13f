"""Simultaneous speech translation: the Augmented Memory Transformer with shiftable context (arXiv 2307.01377)."""

from .config import SegmentConfig as SegmentConfig
from .config import SegmentEncoderConfig as SegmentEncoderConfig
from .config import SimultaneousConfig as SimultaneousConfig
from .encoder import SegmentEncoder as SegmentEncoder
from .encoder_stream import EncoderStreams as EncoderStreams
from .latency import Emission as Emission
from .latency import LatencyScores as LatencyScores
from .latency import score_latency as score_latency
from .latency import score_sentence as score_sentence
from .model import AugmentedMemoryTransformer as AugmentedMemoryTransformer
from .policies import PolicyConfig as PolicyConfig
