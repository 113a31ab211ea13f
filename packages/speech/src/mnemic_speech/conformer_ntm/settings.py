"""Inference settings of a trained recognizer."""

from dataclasses import dataclass, field
from math import inf

from mnemic_core.errors import UserError, check_choice, check_range
from mnemic_speech.beam_search import BeamSearchConfig
from mnemic_speech.conformer_ntm.decoding import Decoding
from mnemic_speech.conformer_ntm.model import ConformerNtm
from mnemic_speech.silence import SilenceSplitter
from mnemic_speech.text import TextStyle


@dataclass(frozen=True)
class TranscriptionSettings:
    """Inference settings of a trained recognizer, stored in its checkpoint.

    Args:
        decoding: ``joint`` search of decoder and CTC as in the paper, the decoder alone (``attention``), greedy ``ctc``
            (fastest), or ``rescoring`` of the n-best texts of CTC with the decoder.
        search: beam and weights of the search; its ``ctc_weight`` applies to ``joint`` and ``rescoring``.
        min_silence: seconds of silence that end a segment.
        max_seconds: longest segment; longer speech without a pause is cut.
        margin: seconds of silence kept at both ends of a segment.
        overlap: seconds before such a cut that are repeated in the next segment, so that no word is lost or doubled.
        carry_memory: carry the memory over the segments of a recording. Off, each segment begins with the initial
            memory, as in the paper's training.
        text_style: normalization of the training texts, applied to references for scoring.
        max_uncertainty: `Transcript.uncertainty` above which a recording is probably unlike those of training, measured
            on validation data; None: unknown.

    Raises:
        UserError: if the decoding is unknown or the overlap too long.
    """

    decoding: Decoding = "joint"
    search: BeamSearchConfig = field(default_factory=BeamSearchConfig)
    min_silence: float = 0.3
    max_seconds: float = 20.0
    margin: float = 0.1
    overlap: float = 2.0
    carry_memory: bool = False
    text_style: TextStyle = "upper"
    max_uncertainty: float | None = None

    def __post_init__(self) -> None:
        check_choice(Decoding, decoding=self.decoding)
        check_range(self, 0, inf, "min_silence", "margin", "max_seconds", "max_uncertainty")
        if not 0 < self.overlap <= self.max_seconds / 2:
            raise UserError(
                f"overlap must be above 0 and at most half of max_seconds, got {self.overlap} and {self.max_seconds}"
            )

    def splitter(self, sample_rate: int) -> SilenceSplitter:
        """Return a new splitter of recordings with these settings."""
        limits = {"min_silence": self.min_silence, "max_seconds": self.max_seconds, "margin": self.margin}
        return SilenceSplitter(sample_rate, **limits)

    @classmethod
    def of(cls, model: ConformerNtm) -> "TranscriptionSettings":
        """Return the default settings with a decoding that the network supports."""
        return cls("ctc" if model.decoder is None else "attention" if model.ctc is None else "joint")


def check_decoding(model: ConformerNtm, decoding: Decoding) -> None:
    """Raise if a network lacks the branch for a decoding.

    Raises:
        UserError: naming the branch and an available decoding.
    """
    missing = [name for name in ("ctc", "decoder") if getattr(model, name) is None]
    wanted = {"ctc": {"ctc"}, "attention": {"decoder"}}.get(decoding, {"ctc", "decoder"})
    if lacking := wanted.intersection(missing):
        other = "ctc" if model.decoder is None else "attention"
        raise UserError(f"decoding {decoding!r} needs the branch {lacking.pop()}, which was not trained: use {other!r}")
