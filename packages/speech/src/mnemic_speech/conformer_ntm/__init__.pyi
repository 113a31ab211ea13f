"""Conformer-NTM: long-form speech recognition with a memory between encoder and decoder (arXiv 2309.13029)."""

from .checkpoint import Recognizer as Recognizer
from .config import ConformerConfig as ConformerConfig
from .config import ConformerNtmConfig as ConformerNtmConfig
from .inference import Transcriber as Transcriber
from .memory import EncoderMemory as EncoderMemory
from .model import ConformerNtm as ConformerNtm
from .model import Encoded as Encoded
from .model import Losses as Losses
from .settings import TranscriptionSettings as TranscriptionSettings
from .weights import load_official as load_official
