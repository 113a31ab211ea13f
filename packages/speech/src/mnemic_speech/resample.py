"""Sampling-rate conversion of a stream, equal to that of the complete recording."""

from collections.abc import Mapping
from math import ceil, gcd, pi

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemic_core.errors import UserError

# torchaudio's defaults: zero crossings on each side of the filter, and its edge as a share of the Nyquist frequency.
_ZERO_CROSSINGS = 6
_ROLLOFF = 0.99
_LOWEST_RATE, _HIGHEST_RATE = 100, 2_000_000  # recorders of ultrasound stay below; filters grow with the rate
_OUTPUTS_AT_ONCE = 1 << 15  # bounds the memory of a long push


class Resampler:
    """Converts a recording from one sampling rate to another, in pieces.

    Band-limited interpolation with a Hann-windowed sinc (Smith and Gossett, "A flexible sampling-rate conversion
    method", ICASSP 1984), with the filter of ``torchaudio.functional.resample``. Every output sample is a sum over the
    few input samples around it, so the result does not depend on the pieces. Only the non-zero taps of each phase are
    stored, so that unusual pairs of rates (11,127 to 16,000 Hz) need no more memory than common ones.

    Args:
        from_rate: input samples per second.
        to_rate: output samples per second.

    Raises:
        UserError: if a rate is not between 100 Hz and 2 MHz: the header of the recording is damaged.

    Example:
        >>> resampler = Resampler(8000, 16000)
        >>> pieces = [resampler.push(torch.zeros(100)), resampler.push(torch.zeros(60)), resampler.finish()]
        >>> len(torch.cat(pieces))
        320
    """

    _held: Tensor  # the latest inputs
    _first: int  # position in the recording of the first held input
    _received: int
    _emitted: int

    def __init__(self, from_rate: int, to_rate: int) -> None:
        if min(from_rate, to_rate) < _LOWEST_RATE or max(from_rate, to_rate) > _HIGHEST_RATE:
            raise UserError(
                f"sampling rates must be between {_LOWEST_RATE} and {_HIGHEST_RATE} Hz, got {from_rate} and {to_rate}"
            )
        divisor = gcd(from_rate, to_rate)
        self._step, self._phases = from_rate // divisor, to_rate // divisor  # inputs and outputs of one period
        edge = min(self._step, self._phases) * _ROLLOFF
        self._reach = ceil(_ZERO_CROSSINGS * self._step / edge)  # inputs needed on each side of an output
        self._filters = _filters(self._step, self._phases, edge, self._reach)
        self._reset()

    def push(self, samples: Float[Tensor, " samples"]) -> Float[Tensor, " resampled"]:
        """Return the output samples determined so far, possibly none."""
        if self._step == self._phases:
            self._held = samples[:0]
            return samples
        self._held = torch.cat([self._held.to(samples), samples])
        self._received += len(samples)
        # The last input of output ``j`` is ``j * step // phases + reach``.
        return self._emit(_ceil_divide(max(self._received - self._reach, 0) * self._phases, self._step))

    def finish(self) -> Float[Tensor, " resampled"]:
        """Return the rest, padded with silence, and reset for a new recording.

        The total number of outputs is ``ceil(samples * to_rate / from_rate)``.
        """
        if self._step == self._phases:
            return self._held[:0]
        self._held = torch.cat([self._held, self._held.new_zeros(self._reach)])
        rest = self._emit(_ceil_divide(self._received * self._phases, self._step))
        self._reset()
        return rest

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state of the recording so far."""
        return {"held": self._held.clone(), "counts": torch.tensor([self._first, self._received, self._emitted])}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore the state of a resampler with the same rates."""
        self._held = state["held"].clone()
        self._first, self._received, self._emitted = state["counts"].tolist()

    def _reset(self) -> None:
        self._held = torch.zeros(self._reach)  # silence before the recording
        self._first = -self._reach
        self._received = self._emitted = 0

    def _emit(self, end: int) -> Float[Tensor, " resampled"]:
        """Return the outputs up to ``end`` and drop inputs that no later output needs."""
        pieces = [
            self._interpolate(torch.arange(start, min(start + _OUTPUTS_AT_ONCE, end), device=self._held.device))
            for start in range(self._emitted, end, _OUTPUTS_AT_ONCE)
        ]
        self._emitted = max(self._emitted, end)
        needed = self._emitted * self._step // self._phases - self._reach
        self._held = self._held[needed - self._first :].clone()
        self._first = needed
        return torch.cat(pieces) if pieces else self._held.new_zeros(0)

    def _interpolate(self, output: Int[Tensor, " resampled"]) -> Float[Tensor, " resampled"]:
        start = output * self._step // self._phases - self._reach - self._first
        windows = self._held.unfold(0, self._filters.shape[1], 1)[start]  # output tap
        return (windows * self._filters.to(windows)[output % self._phases]).sum(1)


def resample(waveform: Float[Tensor, " samples"], from_rate: int, to_rate: int) -> Float[Tensor, " resampled"]:
    """Return a complete waveform at another rate."""
    resampler = Resampler(from_rate, to_rate)
    return torch.cat([resampler.push(waveform), resampler.finish()])


def _filters(step: int, phases: int, edge: float, reach: int) -> Float[Tensor, "phase tap"]:
    """Return the filter taps of each phase, for inputs ``-reach`` to ``reach`` around that at or before the output."""
    fraction = (torch.arange(phases) * step % phases).double() / phases
    distance = torch.arange(-reach, reach + 1, dtype=torch.float64) - fraction[:, None]  # in input samples
    crossing = (distance * (edge / step)).clamp(-_ZERO_CROSSINGS, _ZERO_CROSSINGS)
    window = torch.cos(crossing * (pi / 2 / _ZERO_CROSSINGS)).square()
    return (torch.sinc(crossing) * window * (edge / step)).float()


def _ceil_divide(number: int, divisor: int) -> int:
    return -(-number // divisor)
