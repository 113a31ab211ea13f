"""Conformer-NTM: long-form speech recognition with a memory between encoder and decoder (arXiv 2309.13029)."""

from .checkpoint import Recognizer
from .config import ConformerConfig, ConformerNtmConfig
from .inference import Transcriber
from .memory import EncoderMemory
from .model import ConformerNtm, Encoded, Losses
from .settings import TranscriptionSettings
from .weights import load_official

__all__ = [
    "ConformerConfig",
    "ConformerNtm",
    "ConformerNtmConfig",
    "Encoded",
    "EncoderMemory",
    "Losses",
    "Recognizer",
    "Transcriber",
    "TranscriptionSettings",
    "load_official",
]
