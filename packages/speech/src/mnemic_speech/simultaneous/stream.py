"""Translation of one utterance while it is spoken, saved and continued at any time."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mnemic_core import MemoryReport
from mnemic_core.errors import UserError
from mnemic_core.session import Session
from mnemic_speech.simultaneous.checkpoint import TranslationSettings, Translator
from mnemic_speech.simultaneous.model import AugmentedMemoryTransformer
from mnemic_speech.simultaneous.streams import TranslationStreams, WrittenWord
from mnemic_speech.waveform import Samples


class TranslationStream(Session):
    """Translates one utterance while it is spoken, see `TranslationStreams`; can be saved and continued at any time.

    Args:
        translator: trained network with features, normalization and vocabulary.
        settings: how to run it; None: those of the checkpoint.
        sample_rate: of the samples pushed, in Hz; None: that of the features.

    Raises:
        UserError: if features are normalized by the whole utterance, which a stream does not know.
    """

    session_kind = "translation session"

    def __init__(
        self, translator: Translator, settings: TranslationSettings | None = None, sample_rate: int | None = None
    ) -> None:
        self._streams = TranslationStreams(translator, 1, settings, sample_rate)

    @property
    def seconds(self) -> float:
        """Length of the utterance so far."""
        return self._streams.seconds(0)

    @property
    def finished(self) -> bool:
        """Whether the translation is complete; further samples change nothing."""
        return self._streams.finished(0)

    def push(self, samples: Samples) -> list[WrittenWord]:
        """Return the words written with the next mono samples, float in [-1, 1] or integer; possibly none.

        Raises:
            UserError: if samples contain NaN or infinity; the stream is unchanged.
        """
        return self._streams.push([samples])[0]

    def finish(self) -> list[WrittenWord]:
        """Return the remaining words, and reset for a new utterance."""
        return self._streams.finish()[0]

    def report(self) -> MemoryReport:
        """Return the report of the last layer's memory."""
        layer: Any = self.session_model().encoder.layers[-1]
        memory = layer.memory or layer.bank
        report: MemoryReport = memory.report(self._streams.encoding.memory[-1])
        return report

    def session_model(self) -> AugmentedMemoryTransformer:
        """Return the network."""
        return self._streams.translator.model

    def session_settings(self) -> dict[str, Any]:
        """Return the settings of translation, sampling rate, features and vocabulary."""
        translator = self._streams.translator
        own = {"sample_rate": self._streams.sample_rate, "translation": asdict(self._streams.settings)}
        return own | {"features": asdict(translator.features.config), "tokenizer": translator.tokenizer.state()}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the utterance so far as tensors and plain values."""
        return self._streams.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of a stream with the same translator and settings."""
        self._streams.load_state_dict(state)


def translate(
    translator: Translator,
    samples: Samples,
    sample_rate: int | None = None,
    settings: TranslationSettings | None = None,
) -> list[WrittenWord]:
    """Return the words of an utterance with the time at which each was written.

    Raises:
        UserError: if samples are not mono, NaN or infinite.
    """
    if len(samples) == 0:
        raise UserError("there is nothing to translate: the recording has no samples")
    stream = TranslationStream(translator, settings, sample_rate)
    return stream.push(samples) + stream.finish()
