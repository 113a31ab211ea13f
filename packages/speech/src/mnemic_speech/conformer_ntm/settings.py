"""How a trained recognizer is run."""

from dataclasses import dataclass, field
from math import inf
from typing import get_args

from mnemic_core.errors import UserError, check_range
from mnemic_speech.beam_search import BeamSearchConfig
from mnemic_speech.conformer_ntm.decoding import Decoding
from mnemic_speech.conformer_ntm.model import ConformerNtm
from mnemic_speech.text import TextStyle


@dataclass(frozen=True)
class TranscriptionSettings:
    """How a trained recognizer is to be run; a checkpoint brings its own.

    Args:
        decoding: ``joint`` search of decoder and CTC as in the paper, the decoder alone (``attention``), the best
            ``ctc`` token of each frame (fastest), or ``rescoring`` the best texts of CTC with the decoder.
        search: beam and weights of the search; its ``ctc_weight`` is for ``joint`` and ``rescoring``.
        min_silence: seconds of silence that end a segment.
        max_seconds: longest segment; a longer stretch of speech without a pause is cut.
        margin: seconds of silence that stay at both ends of a segment.
        overlap: seconds before such a cut that the next segment hears again, so that no word is lost or doubled.
        carry_memory: let the memory go on from segment to segment of a recording. Off, each segment begins with a
            fresh one, as in the paper's training.
        text_style: how the texts of the training were normalized, and so how references are to be for scoring.

    Raises:
        UserError: if the decoding is not known or the overlap leaves no room for what is new.
    """

    decoding: Decoding = "joint"
    search: BeamSearchConfig = field(default_factory=BeamSearchConfig)
    min_silence: float = 0.3
    max_seconds: float = 20.0
    margin: float = 0.1
    overlap: float = 2.0
    carry_memory: bool = False
    text_style: TextStyle = "upper"

    def __post_init__(self) -> None:
        if self.decoding not in get_args(Decoding):
            raise UserError(f"decoding must be one of {', '.join(get_args(Decoding))}, got {self.decoding!r}")
        check_range(self, 0, inf, "min_silence", "margin", "max_seconds")
        if not 0 < self.overlap <= self.max_seconds / 2:
            raise UserError(
                f"overlap must be above 0 and at most half of max_seconds, got {self.overlap} and {self.max_seconds}"
            )

    @classmethod
    def of(cls, model: ConformerNtm) -> "TranscriptionSettings":
        """Return the default settings with a decoding that the network has the branches for."""
        return cls("ctc" if model.decoder is None else "attention" if model.ctc is None else "joint")


def check_decoding(model: ConformerNtm, decoding: Decoding) -> None:
    """Refuse a decoding for which a network has not the branch.

    Raises:
        UserError: naming the branch and what the network can do.
    """
    missing = [name for name in ("ctc", "decoder") if getattr(model, name) is None]
    wanted = {"ctc": {"ctc"}, "attention": {"decoder"}}.get(decoding, {"ctc", "decoder"})
    if lacking := wanted.intersection(missing):
        other = "ctc" if model.decoder is None else "attention"
        raise UserError(f"decoding {decoding!r} needs the branch {lacking.pop()}, which was not trained: use {other!r}")
