"""How the memory of a recogniser changes over a recording."""

import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_core import MemoryState
from mnemic_speech.conformer_ntm.inference import Transcriber
from mnemic_speech.conformer_ntm.memory import takes_segments
from mnemic_speech.conformer_ntm.settings import TranscriptionSettings
from mnemic_speech.silence import Segment, SilenceSplitter
from mnemic_speech.subsampling import STRIDE

History = list[dict[str, float | int | None]]

_STEP = 5  # frames between two looks at a memory that takes every frame by itself


@torch.no_grad()
def memory_over_time(transcriber: Transcriber, waveform: Float[Tensor, " samples"]) -> History:
    """Return memory reports along a recording, close enough to draw lines.

    A memory is causal, so that it can be looked at on the way: frames in pieces leave the state that they leave
    together. Overlaps, which only recognition hears twice, are left out.

    Args:
        transcriber: recogniser and how it cuts recordings.
        waveform: at its sampling rate.

    Returns:
        Mappings with ``time`` in seconds and the numbers of ``MemoryReport.as_dict()``.
    """
    settings = transcriber.settings
    history: History = []
    state: MemoryState | None = None
    for segment in _segments(waveform, transcriber.sample_rate, settings):
        more, state = _along(transcriber, segment, state if settings.carry_memory else None)
        history += more
    return history


def _segments(waveform: Tensor, sample_rate: int, settings: TranscriptionSettings) -> list[Segment]:
    splitter = SilenceSplitter(
        sample_rate, min_silence=settings.min_silence, max_seconds=settings.max_seconds, margin=settings.margin
    )
    return splitter.push(waveform) + splitter.finish()


def _along(transcriber: Transcriber, segment: Segment, state: MemoryState | None) -> tuple[History, MemoryState]:
    recognizer = transcriber.recognizer
    model, features = recognizer.model, recognizer.features
    device = next(model.parameters()).device
    values, lengths = features(segment.samples[None].to(device))
    hidden, padding = model.encoder(recognizer.normalizer(values, lengths), lengths)
    state = model.init_state(1) if state is None else state
    history: History = []
    # Where a memory sees several frames at once, it matters where they are cut.
    step = model.config.memory_segment if takes_segments(model.config.memory) else _STEP
    for first in range(0, hidden.shape[1], step):
        piece = slice(first, first + step)
        _, state = model.memory(hidden[:, piece], state, padding=padding[:, piece])
        frames = min(first + step, hidden.shape[1])
        time = segment.start + frames * STRIDE * features.config.frame_seconds
        history.append({"time": time, **model.memory.report(state).as_dict()})
    return history, state
