"""Segmentation of a stream at its pauses."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

import torch
from jaxtyping import Float
from torch import Tensor

from mnemic_core.errors import UserError

_FRAME_SECONDS = 0.02
_RUMBLE_HZ = 120.0  # hum and machine noise below are ignored
_FLOOR_SECONDS = 5.0  # window of the noise floor (its quietest frame); speech pauses more often
_WARM_UP_SECONDS = 0.5  # before the first decision
_QUIETEST_DB = -90.0  # lower bound of the noise floor: the smallest steps of 16 bits
_RANGE_DB = 60.0  # what lies further below the loudest frame is no speech
_SPEECH_DB = -35.0  # assumed level of the loudest speech before any was measured
_HEADROOM_DB = 12.0  # minimum distance of the floor to the loudest frame: one long tone is not noise
_FADE_DB = 0.1  # decay of the loudest level per second


@dataclass(frozen=True)
class Segment:
    """A segment of speech.

    Attributes:
        start: seconds from the start of the recording.
        samples: its audio, pauses at both ends included.
        is_cut: whether it ends in speech because it reached the maximum length; the next segment then follows
            without a gap, unless only silence is left.
    """

    start: float
    samples: Float[Tensor, " samples"]
    is_cut: bool = False


class SilenceSplitter:
    """Cuts a stream into segments at its pauses.

    A frame of 20 ms (analyzed together with the next one, above 120 Hz) is loud when its energy is more than
    ``threshold_db`` above the noise floor, the energy of the quietest frame of the last five seconds (after Martin,
    "Noise power spectral density estimation based on optimal smoothing and minimum statistics", IEEE TSAP 2001); two
    loud frames in a row are speech. So quiet speakers and noisy rooms need no tuning. Frames with 10 ms of equal
    samples tell nothing about the noise: there a gate was closed or the recording was muted.

    Segments do not overlap; silence between them is dropped. Speech without a pause for ``max_seconds`` is cut at the
    quietest frame of the last third. Segments do not depend on how the samples are pushed, and memory is bounded by
    ``max_seconds``.

    Args:
        sample_rate: samples per second.
        min_silence: seconds of silence that end a segment.
        max_seconds: longest segment.
        margin: seconds of silence kept at both ends, for soft onsets and endings.
        threshold_db: level of speech above the noise floor, decibels.

    Raises:
        UserError: if the margin is longer than the silence or the longest segment not longer than both.

    Example:
        >>> splitter = SilenceSplitter(8000)
        >>> hum = torch.sin(torch.arange(8000.0))
        >>> segments = splitter.push(torch.cat([torch.zeros(8000), hum, torch.zeros(8000)])) + splitter.finish()
        >>> [(segment.start, len(segment.samples)) for segment in segments]
        [(0.88, 9760)]
    """

    _held: Tensor  # samples from position ``_first`` on
    _first: int
    _recent: deque[float]  # levels of the frames in the window of the noise floor
    _loudest: float
    _pending: list[float]  # levels of frames measured but not classified
    _levels: list[float]  # levels of the frames of the open segment
    _num_measured: int  # frames
    _num_classified: int  # frames
    _was_loud: bool  # the last classified frame
    _start: int | None  # of the open segment, in samples
    _speech_end: int
    _cut: int  # no later segment starts before it

    def __init__(
        self,
        sample_rate: int,
        *,
        min_silence: float = 0.3,
        max_seconds: float = 20.0,
        margin: float = 0.1,
        threshold_db: float = 3.0,
    ) -> None:
        if not 0 <= margin <= min_silence or not 0 < min_silence + 2 * margin < max_seconds or threshold_db <= 0:
            raise UserError(
                "margin must be at most min_silence, both together much less than max_seconds, and threshold_db "
                f"above 0, got {margin}, {min_silence}, {max_seconds} and {threshold_db}"
            )
        self._rate = sample_rate
        self._frame = max(round(_FRAME_SECONDS * sample_rate), 1)
        self._min_silence = round(min_silence * sample_rate)
        self._max_samples = round(max_seconds * sample_rate)
        self._margin = round(margin * sample_rate)
        self._threshold = threshold_db
        self._window = torch.hann_window(2 * self._frame, dtype=torch.float64)
        self._warm_up = round(_WARM_UP_SECONDS / _FRAME_SECONDS)
        self._reset()

    def push(self, samples: Float[Tensor, " samples"]) -> list[Segment]:
        """Return the segments completed by these samples, possibly none."""
        self._held = torch.cat([self._held, samples.detach().cpu()])
        segments = []
        for level, is_muted in self._new_levels():
            self._num_measured += 1
            if not is_muted:
                self._recent.append(level)
            self._loudest = max(self._loudest - _FADE_DB * _FRAME_SECONDS, level)
            self._pending.append(level)
            if self._num_measured >= self._warm_up:
                segments += self._classify_pending()
        self._drop_samples()
        return segments

    def unfinished(self) -> Segment | None:
        """Return the open segment so far; None in silence."""
        return None if self._start is None else self._segment(self._start, self._first + len(self._held))

    def finish(self) -> list[Segment]:
        """Return the open segment, if any, and reset for a new recording."""
        segments = self._classify_pending()
        last = self.unfinished()
        if last is not None and self._start is not None and self._speech_end > self._start:
            segments.append(last)
        self._reset()
        return segments

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state of the recording so far."""
        start = -1 if self._start is None else self._start
        return {
            "held": self._held.clone(),
            "recent": torch.tensor(list(self._recent), dtype=torch.float64),
            "waiting": torch.tensor(self._pending, dtype=torch.float64),
            "levels": torch.tensor(self._levels, dtype=torch.float64),
            "loudest": torch.tensor(self._loudest, dtype=torch.float64),
            "places": torch.tensor(
                [self._first, self._num_measured, self._num_classified, self._speech_end, self._cut, start]
            ),
            "was_loud": torch.tensor(self._was_loud),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore the state of a splitter with the same settings."""
        self._reset()
        self._held = state["held"].clone()
        self._recent.extend(state["recent"].tolist())
        self._pending = state["waiting"].tolist()
        self._levels = state["levels"].tolist()
        self._loudest = state["loudest"].item()
        self._first, self._num_measured, self._num_classified, self._speech_end, self._cut, start = state[
            "places"
        ].tolist()
        self._was_loud = bool(state["was_loud"])
        self._start = None if start < 0 else start

    def _reset(self) -> None:
        self._held = torch.zeros(0)
        self._recent = deque(maxlen=round(_FLOOR_SECONDS / _FRAME_SECONDS))
        self._loudest = -torch.inf
        self._pending, self._levels = [], []
        self._first = self._num_measured = self._num_classified = self._speech_end = self._cut = 0
        self._was_loud = False
        self._start = None

    def _new_levels(self) -> list[tuple[float, bool]]:
        """Return the level in decibels of each new frame that is followed by another one, and whether it is muted."""
        fresh = self._held[self._num_measured * self._frame - self._first :]
        if len(fresh) < 2 * self._frame:
            return []
        frames = fresh.unfold(0, 2 * self._frame, self._frame)
        parts = frames.unfold(1, max(self._frame // 2, 1), max(self._frame // 2, 1))  # frame part sample
        is_muted = (parts.amax(-1) == parts.amin(-1)).any(1)
        spectrum = torch.fft.rfft(frames.double() * self._window)
        lowest = ceil(_RUMBLE_HZ * 2 * self._frame / self._rate)
        power = 2 * spectrum[:, lowest:].abs().square().sum(1) / (2 * self._frame * self._window.square().sum())
        levels: list[float] = (10 * power.clamp(min=1e-12).log10()).tolist()
        return list(zip(levels, is_muted.tolist(), strict=True))

    def _classify_pending(self) -> list[Segment]:
        if not self._pending:
            return []
        assumed = max(self._loudest, _SPEECH_DB) - _HEADROOM_DB
        floor = max(min([assumed, *self._recent]), self._loudest - _RANGE_DB, _QUIETEST_DB)
        waiting, self._pending = self._pending, []
        judged = [self._classify(level, is_loud=level > floor + self._threshold) for level in waiting]
        return [segment for segment in judged if segment is not None]

    def _classify(self, level: float, *, is_loud: bool) -> Segment | None:
        """Classify the next frame; return the segment it completes, if any."""
        is_speech, self._was_loud = is_loud and self._was_loud, is_loud
        self._num_classified += 1
        end = self._num_classified * self._frame
        if self._start is None:
            if not is_speech:
                return None
            self._start = max(self._cut, end - 2 * self._frame - self._margin)
            self._levels = []
        self._levels.append(level)
        if is_speech:
            self._speech_end = end
        if end - self._speech_end >= self._min_silence:
            return self._close(self._start)
        if end - self._start >= self._max_samples:
            return self._cut_at_quietest(self._start, end)
        return None

    def _close(self, start: int) -> Segment | None:
        """End the open segment in a pause."""
        self._start = None
        if self._speech_end <= start:  # the segment was already cut within this pause
            return None
        self._cut = self._speech_end + self._margin
        return self._segment(start, self._cut)

    def _cut_at_quietest(self, start: int, end: int) -> Segment:
        """End the open segment in the middle of the quietest frame of its last third; the next starts there."""
        count = min(self._max_samples // (3 * self._frame) + 1, len(self._levels))
        candidates = self._levels[-count:]
        quietest = len(candidates) - min(range(count), key=candidates.__getitem__)  # frames before the end
        self._cut = end - quietest * self._frame + self._frame // 2
        self._start = self._cut
        self._levels = self._levels[len(self._levels) - quietest :]
        return replace(self._segment(start, self._cut), is_cut=True)

    def _segment(self, start: int, end: int) -> Segment:
        return Segment(start / self._rate, self._held[start - self._first : end - self._first].clone())

    def _drop_samples(self) -> None:
        """Drop samples that no later segment needs."""
        needed = self._start
        if needed is None:
            needed = max(self._cut, (self._num_classified - 1) * self._frame - self._margin, self._first)
        self._held = self._held[needed - self._first :].clone()
        self._first = needed
