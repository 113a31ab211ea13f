"""Checkpoint of a recognizer: weights, features, their normalization, vocabulary and settings."""

from dataclasses import dataclass

from mnemic_speech.checkpoint import SpeechCheckpoint
from mnemic_speech.conformer_ntm.model import ConformerNtm
from mnemic_speech.conformer_ntm.settings import TranscriptionSettings


@dataclass(frozen=True)
class Recognizer(SpeechCheckpoint[ConformerNtm, TranscriptionSettings], kind="conformer_ntm"):
    """A trained Conformer-NTM with features, normalizer and tokenizer, from waveform to text."""
