"""Conformer-NTM: long-form speech recognition with a memory between encoder and decoder (arXiv 2309.13029)."""

from mnemic_speech.conformer import ConformerConfig
from mnemic_speech.conformer_ntm.checkpoint import Recognizer, load_recognizer, recognizer_header, save_recognizer
from mnemic_speech.conformer_ntm.config import ConformerNtmConfig
from mnemic_speech.conformer_ntm.inference import Transcriber
from mnemic_speech.conformer_ntm.memory import EncoderMemory
from mnemic_speech.conformer_ntm.model import ConformerNtm, Encoded, Losses
from mnemic_speech.conformer_ntm.recognition import TranscriptionSettings
from mnemic_speech.conformer_ntm.weights import load_official

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
    "load_recognizer",
    "recognizer_header",
    "save_recognizer",
]
