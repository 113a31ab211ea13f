"""Transcribing recordings of any length: files, arrays, and streams as they come in."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mnemic_core import MemoryReport
from mnemic_core.errors import UserError
from mnemic_speech.audio import stream_audio
from mnemic_speech.conformer_ntm.checkpoint import Recognizer
from mnemic_speech.conformer_ntm.recognition import Recognition, recognize
from mnemic_speech.conformer_ntm.settings import TranscriptionSettings, check_decoding
from mnemic_speech.conformer_ntm.stream import Samples, TranscriptStream, as_waveform, segment_of
from mnemic_speech.resample import Resampler
from mnemic_speech.silence import SilenceSplitter
from mnemic_speech.subsampling import STRIDE
from mnemic_speech.transcript import Transcript

_REPORT_STEP = 5  # frames between two reports on a memory that takes every frame by itself


class Transcriber:
    """Writes down what is said in recordings of any length and sampling rate.

    A recording is cut at its pauses and recognized segment by segment, the memory going on from one to the next where
    the settings say so. A file is heard in the same way as a stream, so that both give the same text, in the memory
    that one segment needs.

    Args:
        recognizer: trained network with what belongs to it; its device is where everything is computed.
        settings: how to run it; None: as the checkpoint says.

    Raises:
        UserError: if the network cannot decode in that way.

    Example:
        >>> from mnemic_speech.conformer_ntm import ConformerConfig, ConformerNtm, ConformerNtmConfig
        >>> from mnemic_speech.features import FeatureConfig, Features, Normalizer
        >>> from mnemic_speech.text import WordTokenizer
        >>> encoder = ConformerConfig(num_mels=20, dim=8, num_heads=2, ffn_dim=16, num_layers=1)
        >>> model = ConformerNtm(ConformerNtmConfig(vocab_size=5, encoder=encoder, ctc_weight=1.0))
        >>> features = Features(FeatureConfig(num_mels=20))
        >>> parts = features, Normalizer("utterance", 20), WordTokenizer(["no", "yes"])
        >>> untrained = Recognizer(model, TranscriptionSettings.of(model), {}, *parts)
        >>> Transcriber(untrained).transcribe(torch.zeros(48_000), sample_rate=48_000)
        Transcript(segments=(), duration=1.0, language=None)
    """

    def __init__(self, recognizer: Recognizer, settings: TranscriptionSettings | None = None) -> None:
        self.recognizer = recognizer
        self.settings = settings or recognizer.settings
        check_decoding(recognizer.model, self.settings.decoding)
        recognizer.model.eval()

    def transcribe(self, source: str | Path | Samples, sample_rate: int | None = None) -> Transcript:
        """Return what is said in a recording.

        Args:
            source: a file of any format that ``read_audio`` knows, or a mono waveform in [-1, 1] (or of whole numbers).
            sample_rate: of a waveform, in Hz; a file knows its own.

        Raises:
            FileNotFoundError: if there is no such file.
            UserError: if it is no audio, damaged, or holds samples that are no numbers.
        """
        blocks, rate = self._blocks(source, sample_rate)
        stream = self.stream(rate)
        segments = [segment for block in blocks for segment in stream.push(block)]
        duration = stream.seconds
        return Transcript((*segments, *stream.finish()), duration)

    def transcribe_batch(
        self, waveforms: Sequence[Samples], sample_rate: int | None = None, batch_size: int = 16
    ) -> list[Transcript]:
        """Return what is said in utterances, each recognized as a whole, however long, with a fresh memory.

        Args:
            waveforms: mono, in [-1, 1] or of whole numbers.
            sample_rate: of all of them, in Hz; None: that of the recognizer.
            batch_size: utterances that are computed together; those of like length are.

        Raises:
            UserError: if samples are no numbers.
        """
        own = self.sample_rate
        heard = [_resampled(as_waveform(each), sample_rate or own, own) for each in waveforms]
        order = sorted(range(len(heard)), key=lambda index: len(heard[index]))
        found: dict[int, Recognition] = {}
        for first in range(0, len(order), batch_size):
            chosen = order[first : first + batch_size]
            results, _ = recognize(self.recognizer, [heard[index] for index in chosen], self.settings)
            found |= dict(zip(chosen, results, strict=True))
        return [_to_transcript(found[index], len(each) / own) for index, each in enumerate(heard)]

    @torch.no_grad()
    def reports(self, waveform: Float[Tensor, " samples"]) -> list[tuple[float, MemoryReport]]:
        """Return how the memory is used along a recording, close enough to draw lines.

        Encoder frames go into the memory in short pieces, which leave the state that they leave together. The overlaps
        of segments that were cut in speech, which only recognition hears twice, are left out.

        Args:
            waveform: at the sampling rate of the recognizer.

        Returns:
            Seconds from the beginning, and the report at that time.
        """
        model, settings = self.recognizer.model, self.settings
        splitter = SilenceSplitter(
            self.sample_rate, min_silence=settings.min_silence, max_seconds=settings.max_seconds, margin=settings.margin
        )
        found: list[tuple[float, MemoryReport]] = []
        state = model.init_state(1)
        for segment in splitter.push(waveform) + splitter.finish():
            state = state if settings.carry_memory else model.init_state(1)
            hidden, padding = self._encode(segment.samples)
            for first, last in self._memory_steps(hidden.shape[1]):
                _, state = model.memory(hidden[:, first:last], state, padding=padding[:, first:last])
                time = segment.start + last * STRIDE * self.recognizer.features.config.frame_seconds
                found.append((time, model.memory.report(state)))
        return found

    def stream(self, sample_rate: int) -> TranscriptStream:
        """Return a stream at the beginning of a recording.

        Args:
            sample_rate: of what it will be given, in Hz.
        """
        return TranscriptStream(self.recognizer, self.settings, sample_rate)

    @property
    def sample_rate(self) -> int:
        """Samples per second that the recognizer hears."""
        return self.recognizer.features.config.sample_rate

    def _encode(
        self, samples: Float[Tensor, " samples"]
    ) -> tuple[Float[Tensor, "1 frame dim"], Bool[Tensor, "1 frame"]]:
        """Return the frames of the encoder for a segment, before the memory, and their padding."""
        recognizer = self.recognizer
        values, lengths = recognizer.features(samples[None].to(next(recognizer.model.parameters()).device))
        hidden, padding = recognizer.model.encoder(recognizer.normalizer(values, lengths), lengths)
        return hidden, padding

    def _memory_steps(self, frames: int) -> list[tuple[int, int]]:
        """Return the bounds of the pieces in which the memory takes frames when it is reported on."""
        config = self.recognizer.model.config
        # Where a memory sees several frames at once, it matters where they are cut.
        step = config.memory_segment if config.takes_segments else _REPORT_STEP
        return [(first, min(first + step, frames)) for first in range(0, frames, step)]

    def _blocks(self, source: str | Path | Samples, sample_rate: int | None) -> tuple[Iterator[Tensor], int]:
        """Return the recording as blocks of a second, and their sampling rate."""
        if isinstance(source, str | Path):
            if sample_rate is not None:
                raise UserError(f"sample_rate is for waveforms; {source} knows its own, leave it out")
            return stream_audio(source, self.sample_rate), self.sample_rate
        if sample_rate is None:
            raise UserError("a waveform needs sample_rate, its samples per second")
        return iter(as_waveform(source).split(sample_rate)), sample_rate


def _resampled(waveform: Tensor, from_rate: int, to_rate: int) -> Tensor:
    resampler = Resampler(from_rate, to_rate)
    return torch.cat([resampler.push(waveform), resampler.finish()])


def _to_transcript(found: Recognition, seconds: float) -> Transcript:
    return Transcript(tuple(segment_of(0.0, seconds, found.words)), seconds)
