"""Transcription of files, arrays and streams of any length."""

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
from mnemic_speech.conformer_ntm.stream import TranscriptStream, segment_of
from mnemic_speech.resample import resample
from mnemic_speech.subsampling import STRIDE
from mnemic_speech.transcript import Transcript
from mnemic_speech.waveform import Samples, as_waveform

_REPORT_STEP = 5  # frames between two reports of a machine, which processes single frames


class Transcriber:
    """Transcribes recordings of any length and sampling rate.

    A recording is cut at its pauses and recognized segment by segment; the settings decide whether the memory is
    carried over. Files are processed as streams, so that both give the same text, in bounded memory.

    Args:
        recognizer: trained network with features, normalization and vocabulary; computes on its device.
        settings: how to run it; None: the settings of the checkpoint.

    Raises:
        UserError: if the network lacks the branch for the decoding.

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
        Transcript(segments=(), duration=1.0, language=None, uncertainty=0.0)
    """

    def __init__(self, recognizer: Recognizer, settings: TranscriptionSettings | None = None) -> None:
        self.recognizer = recognizer
        self.settings = settings or recognizer.settings
        check_decoding(recognizer.model, self.settings.decoding)
        recognizer.model.eval()

    def transcribe(self, source: str | Path | Samples, sample_rate: int | None = None) -> Transcript:
        """Return the transcript of an audio file, or of a mono waveform (float in [-1, 1], or integer) and its rate.

        Raises:
            FileNotFoundError: if there is no such file.
            UserError: if it is not audio, damaged, or its samples contain NaN or infinity.
        """
        blocks, rate = self._blocks(source, sample_rate)
        stream = self.stream(rate)
        return stream.finish_transcript([segment for block in blocks for segment in stream.push(block)])

    def transcribe_batch(
        self, waveforms: Sequence[Samples], sample_rate: int | None = None, batch_size: int = 16
    ) -> list[Transcript]:
        """Return the transcripts of utterances, each recognized without segmentation from the initial memory.

        Args:
            waveforms: mono, float in [-1, 1] or integer.
            sample_rate: of all of them, in Hz; None: that of the recognizer.
            batch_size: utterances per batch, grouped by length.
        """
        own = self.sample_rate
        resampled = [resample(as_waveform(each), sample_rate or own, own) for each in waveforms]
        order = sorted(range(len(resampled)), key=lambda index: len(resampled[index]))
        found: dict[int, Recognition] = {}
        for first in range(0, len(order), batch_size):
            chosen = order[first : first + batch_size]
            results, _ = recognize(self.recognizer, [resampled[index] for index in chosen], self.settings)
            found |= dict(zip(chosen, results, strict=True))
        transcripts = []
        for index, each in enumerate(resampled):
            seconds = len(each) / own
            segments, doubt = segment_of(0.0, seconds, found[index].words), found[index].uncertainty
            per_frame = None if doubt is None else doubt.per_frame
            transcripts.append(Transcript(tuple(segments), seconds, uncertainty=per_frame))
        return transcripts

    @torch.no_grad()
    def reports(self, waveform: Float[Tensor, " samples"]) -> list[tuple[float, MemoryReport]]:
        """Return reports of the memory along a recording, dense enough for a plot.

        Encoder frames are fed to the memory in short pieces, which gives the same states. The overlaps of segments cut
        in speech, which recognition processes twice, are left out. Each report has its time in seconds.
        """
        model, settings = self.recognizer.model, self.settings
        splitter = settings.splitter(self.sample_rate)
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
        """Return a stream for a new recording at ``sample_rate`` Hz."""
        return TranscriptStream(self.recognizer, self.settings, sample_rate)

    @property
    def sample_rate(self) -> int:
        """Sampling rate of the recognizer's features, in Hz."""
        return self.recognizer.features.config.sample_rate

    def _encode(
        self, samples: Float[Tensor, " samples"]
    ) -> tuple[Float[Tensor, "1 frame dim"], Bool[Tensor, "1 frame"]]:
        """Return the encoder frames of a segment, before the memory, and their padding."""
        recognizer = self.recognizer
        values, lengths = recognizer.features(samples[None].to(next(recognizer.model.parameters()).device))
        hidden, padding = recognizer.model.encoder(recognizer.normalizer(values, lengths), lengths)
        return hidden, padding

    def _memory_steps(self, frames: int) -> list[tuple[int, int]]:
        """Return the bounds of the pieces of frames between two reports."""
        config = self.recognizer.model.config
        # A memory of segments must get complete ones for equal states.
        step = config.memory_segment if config.takes_segments else _REPORT_STEP
        return [(first, min(first + step, frames)) for first in range(0, frames, step)]

    def _blocks(
        self, source: str | Path | Samples, sample_rate: int | None
    ) -> tuple[Iterator[Float[Tensor, " samples"]], int]:
        """Return the recording in blocks of a second, and their sampling rate."""
        if isinstance(source, str | Path):
            if sample_rate is not None:
                raise UserError(f"sample_rate is for waveforms; {source} knows its own, leave it out")
            return stream_audio(source, self.sample_rate), self.sample_rate
        if sample_rate is None:
            raise UserError("a waveform needs sample_rate, its samples per second")
        return iter(as_waveform(source).split(sample_rate)), sample_rate
