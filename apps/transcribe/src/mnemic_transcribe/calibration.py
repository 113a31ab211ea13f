"""What a recognizer is usually unsure of, so that sound unlike that of its training can be told."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from mnemic_speech.conformer_ntm.inference import Transcriber

_USUAL = 0.995  # share of recordings like those of training that come without a warning


def usual_uncertainty(
    transcriber: Transcriber, recordings: Iterable[Float[Tensor, " samples"]], sample_rate: int
) -> float:
    """Return the uncertainty that 99.5 % of recordings stay below, for ``TranscriptionSettings.max_uncertainty``.

    Args:
        transcriber: with a recognizer that has CTC.
        recordings: validation data, not used in training.
        sample_rate: in Hz.
    """
    found = [transcriber.transcribe(recording, sample_rate).uncertainty for recording in recordings]
    return round(float(np.quantile([each for each in found if each is not None], _USUAL)), 4)
