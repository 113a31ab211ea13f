"""Filter-bank features of waveforms, of a batch or a stream with equal results."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchaudio.compliance import kaldi
from torchaudio.functional import melscale_fbanks

from mnemic_core.errors import UserError, check_choice, check_range

FeatureKind = Literal["log_mel", "kaldi"]
NormalizerKind = Literal["global", "utterance", "none"]

_LOG_FLOOR = 1e-10
_KALDI_SCALE = 1 << 15  # Kaldi expects samples on the scale of 16-bit audio
_MIN_STD = 1e-3  # so that a constant band (narrow-band audio) is not amplified


@dataclass(frozen=True)
class FeatureConfig:
    """Settings of the features; the defaults are the paper's (ESPnet's front end for 16 kHz).

    Attributes:
        kind: ``"log_mel"`` as ESPnet, or ``"kaldi"`` filter banks.
        sample_rate: samples per second of the waveform.
        num_mels: number of filters, the width of the features.
        n_fft: points of the Fourier transform; ``"kaldi"`` uses the power of two at or above ``window``.
        window: samples in a frame.
        hop: samples between frames.
        max_frequency: upper edge of the highest filter in Hz; None for half the sampling rate.
        whole_batch: let the last frames of a padded item include samples of the padding, as ESPnet does; by default
            the features of an item do not depend on its batch.
    """

    kind: FeatureKind = "log_mel"
    sample_rate: int = 16000
    num_mels: int = 80
    n_fft: int = 512
    window: int = 400
    hop: int = 160
    max_frequency: float | None = None
    whole_batch: bool = False

    def __post_init__(self) -> None:
        check_choice(FeatureKind, kind=self.kind)
        check_range(self, 1, inf, "sample_rate", "num_mels", "n_fft", "hop")
        check_range(self, 1, self.n_fft, "window")
        if not 0 < self.highest_frequency <= self.sample_rate / 2:
            raise UserError(
                f"max_frequency must be above 0 and at most half of sample_rate={self.sample_rate}, "
                f"got {self.max_frequency}"
            )
        power = 1 << (self.window - 1).bit_length()
        if self.kind == "kaldi" and self.n_fft != power:
            raise UserError(f"kaldi features of window={self.window} need n_fft={power}, got {self.n_fft}")

    @property
    def highest_frequency(self) -> float:
        """Upper edge of the highest filter in Hz."""
        return self.sample_rate / 2 if self.max_frequency is None else self.max_frequency

    @property
    def frame_seconds(self) -> float:
        """Seconds between frames."""
        return self.hop / self.sample_rate

    @property
    def lead(self) -> int:
        """Samples of frame 0 before the start, where the waveform is mirrored."""
        return self.n_fft // 2 if self.kind == "log_mel" else 0

    @property
    def span(self) -> int:
        """Samples from the start to the end of a frame."""
        return self.n_fft if self.kind == "log_mel" else self.window


class Features(nn.Module):
    """Filter-bank features of waveforms.

    ``"log_mel"``: power spectrum with a centered Hann window and mirrored ends, Slaney-style mel filters of equal area,
    natural logarithm of at least 1e-10. ``"kaldi"``: Kaldi's filter banks without dither, complete frames only.

    Args:
        config: kind and sizes.

    Raises:
        UserError: if there are more filters than the Fourier transform resolves.

    Example:
        >>> features, lengths = Features(FeatureConfig())(torch.zeros(2, 1600), torch.tensor([1600, 800]))
        >>> features.shape, lengths.tolist()
        (torch.Size([2, 11, 80]), [11, 6])
    """

    window: Tensor
    melmat: Tensor

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        if config.kind == "log_mel":
            self.register_buffer("window", torch.hann_window(config.window), persistent=False)
            self.register_buffer("melmat", _mel_filters(config), persistent=False)
        else:
            self.register_buffer("window", torch.zeros(0), persistent=False)

    def frame_lengths(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Return the number of frames of waveforms with these numbers of samples; 0 for no samples."""
        if self.config.kind == "log_mel":
            return torch.where(lengths > 0, lengths // self.config.hop + 1, 0)
        return ((lengths - self.config.window) // self.config.hop + 1).clamp(min=0)

    def forward(
        self, waveform: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"] | None = None
    ) -> tuple[Float[Tensor, "batch frame mel"], Int[Tensor, " batch"]]:
        """Return the features and the number of frames of each item; frames beyond it are 0.

        Audio is in [-1, 1]; samples beyond an item's length are ignored.
        """
        batch, samples = waveform.shape
        if lengths is None:
            lengths = torch.full((batch,), samples, device=waveform.device)
        counts = self.frame_lengths(lengths)
        frames = int(self.frame_lengths(torch.tensor([samples])))
        if frames == 0:
            return waveform.new_zeros(batch, 0, self.config.num_mels), counts
        ends = torch.full_like(lengths, samples) if self.config.whole_batch else lengths
        position = torch.arange(frames * self.config.hop - self.config.hop + self.config.span, device=waveform.device)
        index = _mirrored(position - self.config.lead, ends[:, None])
        values = self.spectra(waveform.gather(1, index))
        beyond = torch.arange(frames, device=waveform.device) >= counts[:, None]
        return values.masked_fill(beyond[..., None], 0), counts

    def spectra(self, waveform: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frame mel"]:
        """Return the features of all complete frames, at least one."""
        # In half precision the power of loud sounds would overflow.
        with torch.autocast(waveform.device.type, enabled=False):
            if self.config.kind == "log_mel":
                return self._log_mel(waveform.float())
            return torch.stack([self._kaldi(row) for row in waveform.float()])

    def _log_mel(self, waveform: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frame mel"]:
        config = self.config
        spectrum = torch.stft(
            waveform, config.n_fft, config.hop, config.window, self.window, center=False, return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return (power.transpose(1, 2) @ self.melmat).clamp(min=_LOG_FLOOR).log()

    def _kaldi(self, waveform: Float[Tensor, " samples"]) -> Float[Tensor, "frame mel"]:
        config = self.config
        milliseconds = 1000 / config.sample_rate
        values: Tensor = kaldi.fbank(
            waveform[None] * _KALDI_SCALE,
            sample_frequency=config.sample_rate,
            # Half a sample more, because Kaldi truncates the number of samples.
            frame_length=(config.window + 0.5) * milliseconds,
            frame_shift=(config.hop + 0.5) * milliseconds,
            num_mel_bins=config.num_mels,
            high_freq=config.highest_frequency,
        )
        return values


class FeatureStream:
    """Features of a recording in pieces, equal to those of the complete recording.

    Example:
        >>> stream = FeatureStream(Features(FeatureConfig()))
        >>> [len(stream.push(torch.zeros(500))), len(stream.push(torch.zeros(300))), len(stream.finish())]
        [2, 2, 2]
    """

    _held: Tensor  # the latest samples
    _received: int  # samples
    _emitted: int  # frames

    def __init__(self, features: Features) -> None:
        self._features = features
        self._config = features.config
        self._reset()

    def push(self, samples: Float[Tensor, " samples"]) -> Float[Tensor, "frame mel"]:
        """Return the frames completed by these samples, possibly none."""
        self._held = torch.cat([self._held, samples.to(self._held.device)])
        self._received += len(samples)
        lead, span, hop = self._config.lead, self._config.span, self._config.hop
        if self._received <= lead:  # the mirrored start is not complete
            return self._frames(0)
        return self._frames((self._received - span + lead) // hop + 1)

    def finish(self) -> Float[Tensor, "frame mel"]:
        """Return the frames at the end of the recording, and reset for a new one."""
        last = self._frames(int(self._features.frame_lengths(torch.tensor([self._received]))))
        self._reset()
        return last

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state of the recording so far."""
        return {"held": self._held.clone(), "counts": torch.tensor([self._received, self._emitted])}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore the state of a stream with the same configuration."""
        self._held = state["held"].to(self._held.device, copy=True)
        self._received, self._emitted = state["counts"].tolist()

    def _reset(self) -> None:
        self._held = torch.zeros(0, device=self._features.window.device)
        self._received = self._emitted = 0

    def _frames(self, end: int) -> Float[Tensor, "frame mel"]:
        """Return the frames up to ``end`` and drop samples that no later frame needs."""
        if end <= self._emitted:
            return self._held.new_zeros(0, self._config.num_mels)
        lead, span, hop = self._config.lead, self._config.span, self._config.hop
        device = self._held.device
        position = torch.arange(self._emitted * hop - lead, (end - 1) * hop - lead + span, device=device)
        first = self._received - len(self._held)
        index = _mirrored(position, torch.tensor(self._received, device=device)) - first
        frames = self._features.spectra(self._held[index][None])[0]
        self._emitted = end
        # Keep the span of the next frame, and a span to mirror at the end of the recording.
        needed = max(first, min(end * hop - lead, self._received - span))
        self._held = self._held[needed - first :].clone()
        return frames


class Normalizer(nn.Module):
    """Normalizes features to mean 0 and deviation 1, by statistics of the training set or of each utterance.

    Args:
        kind: ``"global"`` (buffers ``mean`` and ``std``, see :meth:`fit`), ``"utterance"`` or ``"none"``.
        num_mels: width of the features.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, kind: NormalizerKind = "global", num_mels: int = 80) -> None:
        super().__init__()
        check_choice(NormalizerKind, kind=kind)
        self.kind = kind
        self.register_buffer("mean", torch.zeros(num_mels))
        self.register_buffer("std", torch.ones(num_mels))

    @classmethod
    def fit(cls, features: Iterable[Float[Tensor, "frame mel"]]) -> "Normalizer":
        """Return a global normalizer with mean and deviation of the given utterances.

        Raises:
            UserError: if there is no frame.
        """
        count, total, squares = 0, torch.zeros(0), torch.zeros(0)
        for utterance in features:
            values = utterance.detach().cpu().double()
            if count == 0:
                total, squares = torch.zeros(2, values.shape[1], dtype=torch.float64)
            count += len(values)
            total = total + values.sum(0)
            squares = squares + values.square().sum(0)
        if count == 0:
            raise UserError("features hold no frame to take the mean of; give at least one utterance")
        mean = total / count
        normalizer = cls("global", len(mean))
        normalizer.mean.copy_(mean)
        normalizer.std.copy_((squares / count - mean.square()).clamp(min=0).sqrt().clamp(min=_MIN_STD))
        return normalizer

    def forward(
        self, features: Float[Tensor, "batch frame mel"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch frame mel"]:
        """Return normalized features; frames beyond an item's length are 0 and excluded from the statistics."""
        beyond = (torch.arange(features.shape[1], device=features.device) >= lengths[:, None])[..., None]
        features = features.masked_fill(beyond, 0)
        if self.kind == "none":
            return features
        mean, std = self.mean, self.std
        if self.kind == "utterance":
            count = lengths.clamp(min=1)[:, None, None]
            mean = features.sum(1, keepdim=True) / count
            deviation = (features - mean).masked_fill(beyond, 0)
            std = (deviation.square().sum(1, keepdim=True) / count).sqrt().clamp(min=_MIN_STD)
        return ((features - mean) / std).masked_fill(beyond, 0)


def _mel_filters(config: FeatureConfig) -> Float[Tensor, "frequency mel"]:
    filters: Tensor = melscale_fbanks(
        config.n_fft // 2 + 1,
        0.0,
        config.highest_frequency,
        config.num_mels,
        config.sample_rate,
        norm="slaney",
        mel_scale="slaney",
    )
    if empty := int((filters.amax(0) == 0).sum()):
        raise UserError(
            f"{empty} of num_mels={config.num_mels} filters are empty: n_fft={config.n_fft} is too coarse for them "
            f"at {config.sample_rate} Hz; use fewer filters or a larger n_fft"
        )
    return filters


def _mirrored(position: Int[Tensor, " position"], length: Int[Tensor, "*batch"]) -> Int[Tensor, "*any"]:
    """Return the index in a waveform for a position before its start or after its end, by reflection.

    Unlike ``F.pad``, it reflects repeatedly, so that a waveform may be shorter than half a window.
    """
    period = (2 * length - 2).clamp(min=1)
    folded = position.remainder(period)
    return torch.minimum(folded, period - folded)
