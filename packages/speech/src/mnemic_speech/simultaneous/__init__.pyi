"""Simultaneous speech translation: the Augmented Memory Transformer with shiftable context (arXiv 2307.01377)."""

from .checkpoint import TranslationSettings as TranslationSettings
from .checkpoint import Translator as Translator
from .config import SegmentConfig as SegmentConfig
from .config import SegmentEncoderConfig as SegmentEncoderConfig
from .config import SimultaneousConfig as SimultaneousConfig
from .decoding import decode_complete as decode_complete
from .encoder import SegmentEncoder as SegmentEncoder
from .encoder_stream import EncoderStreams as EncoderStreams
from .inference import SimultaneousTranslator as SimultaneousTranslator
from .instances import TranslationRecord as TranslationRecord
from .instances import read_instances as read_instances
from .latency import Emission as Emission
from .latency import LatencyScores as LatencyScores
from .latency import score_latency as score_latency
from .latency import score_sentence as score_sentence
from .model import AugmentedMemoryTransformer as AugmentedMemoryTransformer
from .model import TranslationLosses as TranslationLosses
from .policies import PolicyConfig as PolicyConfig
from .quality import QualityScores as QualityScores
from .quality import join_words as join_words
from .quality import latency_units as latency_units
from .quality import score_quality as score_quality
from .stream import TranslationStream as TranslationStream
from .stream import translate as translate
from .streams import TranslationStreams as TranslationStreams
from .streams import WrittenWord as WrittenWord
