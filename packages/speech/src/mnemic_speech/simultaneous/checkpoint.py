"""Checkpoint of a simultaneous translator."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mnemic_core.deserialize import deserialize
from mnemic_core.errors import check_choice, check_range
from mnemic_speech.checkpoint import SpeechCheckpoint
from mnemic_speech.silence import SilenceSplitter
from mnemic_speech.simultaneous.config import Shift
from mnemic_speech.simultaneous.model import AugmentedMemoryTransformer
from mnemic_speech.simultaneous.policies import PolicyConfig


@dataclass(frozen=True)
class TranslationSettings:
    """How a trained network translates.

    Attributes:
        policy: when to write.
        shift: of windows; ``all`` is shiftable context, which keeps windows as long as those of training.
        max_tokens: of an utterance.
        min_silence: seconds of silence that end an utterance of a recording.
        max_seconds: longest utterance of a recording, which ends there without a pause.
    """

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    shift: Shift = "all"
    max_tokens: int = 200
    min_silence: float = 0.5
    max_seconds: float = 20.0

    def __post_init__(self) -> None:
        self.splitter(16_000)  # refuses times that do not fit together
        check_choice(Shift, shift=self.shift)
        check_range(self, 1, 10_000, "max_tokens")

    def splitter(self, sample_rate: int) -> SilenceSplitter:
        """Return what cuts a recording into utterances."""
        return SilenceSplitter(sample_rate, min_silence=self.min_silence, max_seconds=self.max_seconds)


@dataclass(frozen=True)
class Translator(SpeechCheckpoint[AugmentedMemoryTransformer, TranslationSettings], kind="simultaneous"):
    """A trained translator, from waveform to text in another language.

    Attributes:
        source: code of the language that is spoken.
        target: code of the language that is written.
    """

    source: str = "en"
    target: str = "de"

    def describe_parts(self) -> dict[str, Any]:
        """Return what `SpeechCheckpoint` describes, and the languages."""
        return super().describe_parts() | {"languages": [self.source, self.target]}

    @classmethod
    def restore_parts(cls, header: Mapping[str, Any], source: str | Path) -> dict[str, Any]:
        """Return these parts."""
        spoken, written = deserialize(tuple[str, str], header.get("languages"), source, "languages")
        return super().restore_parts(header, source) | {"source": spoken, "target": written}
