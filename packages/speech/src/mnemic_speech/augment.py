"""Augmentation of audio and features."""

from math import ceil, inf

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torchaudio import functional as audio

from mnemic_core.errors import UserError, check_range
from mnemic_speech.resample import resample

_SPEED_STEPS = 1000  # a speed is rounded to thousandths
_CUBIC = -0.75  # torch's bicubic coefficient


class SpecAugment(nn.Module):
    """SpecAugment: time warping, frequency masks and time masks, in training mode only.

    Park et al., "SpecAugment" (Interspeech 2019), with settings and order of the paper's ESPnet recipe: it is applied
    before normalization, and masked values become 0. Every item is masked within its own length.

    Args:
        time_warp: maximum shift of a random frame, in frames; 0 for none. Items of at most twice as many frames are
            not warped.
        num_frequency_masks: frequency masks per item.
        frequency_width: a frequency mask has 0 to ``frequency_width - 1`` mels.
        num_time_masks: time masks per item.
        time_share: a time mask has fewer frames than this share of the item.
        time_width: a time mask has fewer frames than this; None: any number.
    """

    def __init__(
        self,
        time_warp: int = 5,
        num_frequency_masks: int = 2,
        frequency_width: int = 27,
        num_time_masks: int = 5,
        time_share: float = 0.05,
        time_width: int | None = None,
    ) -> None:
        super().__init__()
        self.time_width = time_width
        self.time_warp = time_warp
        self.num_frequency_masks, self.frequency_width = num_frequency_masks, frequency_width
        self.num_time_masks, self.time_share = num_time_masks, time_share
        check_range(self, 0, inf, "time_warp", "num_frequency_masks", "frequency_width", "num_time_masks")
        check_range(self, 0, 1, "time_share")

    def forward(
        self, features: Float[Tensor, "batch frame mel"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch frame mel"]:
        """Return augmented features; frames beyond an item's length are unchanged."""
        if not self.training:
            return features
        if self.time_warp:
            features = self._warp(features, lengths)
        num_mels = torch.full_like(lengths, features.shape[2])
        frequency_masks = _random_bands(num_mels, num_mels.clamp(max=self.frequency_width), self.num_frequency_masks)
        widest = (lengths * self.time_share).floor().long()
        if self.time_width is not None:
            widest = widest.clamp(max=self.time_width)
        time_masks = _random_bands(lengths, widest, self.num_time_masks)
        masked = (
            _cover(frequency_masks, features.shape[2])[:, None, :] | _cover(time_masks, features.shape[1])[:, :, None]
        )
        beyond = torch.arange(features.shape[1], device=features.device) >= lengths[:, None]
        return features.masked_fill(masked & ~beyond[..., None], 0)

    def _warp(
        self, features: Float[Tensor, "batch frame mel"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch frame mel"]:
        # Vectorized over the batch by gathering frames; ESPnet loops over items of different lengths.
        window = self.time_warp
        can_warp = lengths > 2 * window
        center = window + _random_below(lengths - 2 * window)
        target = center - window + 1 + _random_below(torch.full_like(lengths, 2 * window))
        return warp_time(
            features, lengths, torch.where(can_warp, center, lengths), torch.where(can_warp, target, lengths)
        )


def warp_time(
    features: Float[Tensor, "batch frame mel"],
    lengths: Int[Tensor, " batch"],
    center: Int[Tensor, " batch"],
    target: Int[Tensor, " batch"],
) -> Float[Tensor, "batch frame mel"]:
    """Move frame ``center`` to ``target``; both sides are resampled by bicubic interpolation.

    Args:
        features: frames beyond an item's length are unchanged.
        lengths: frames of each item.
        center: the first frame of the right side, 1 to the length.
        target: its new position, 1 to the length; equal to the length only if ``center`` is, which changes nothing.
    """
    center, target, ends = center[:, None], target[:, None], lengths[:, None]
    position = torch.arange(features.shape[1], device=features.device).expand(len(lengths), -1)
    is_left = position < target
    size = torch.where(is_left, center, (ends - center).clamp(min=1))  # frames of the side before warping
    new_size = torch.where(is_left, target, (ends - target).clamp(min=1))
    start = torch.where(is_left, 0, center)
    source = (position - torch.where(is_left, 0, target) + 0.5) * (size / new_size) - 0.5
    before = source.floor()
    warped = torch.zeros_like(features)
    for tap, weight in enumerate(_cubic_weights(source - before), start=-1):
        index = start + (before.long() + tap).clamp(min=0).minimum(size - 1)
        index = index.clamp(max=features.shape[1] - 1)[..., None].expand_as(features)
        warped = warped + weight[..., None] * features.gather(1, index)
    return torch.where((position < ends)[..., None], warped, features)


def change_speed(waveform: Float[Tensor, " samples"], factor: float) -> Float[Tensor, " changed"]:
    """Return the recording played ``factor`` times as fast, pitch included (Ko et al., Interspeech 2015).

    Equal to ``torchaudio.functional.speed``, but fast for any factor, rounded to thousandths.

    Raises:
        UserError: if the factor is not above 0.
    """
    if not factor >= 1 / _SPEED_STEPS:
        raise UserError(f"a speed must be at least {1 / _SPEED_STEPS}, got {factor}")
    return resample(waveform, round(factor * _SPEED_STEPS), _SPEED_STEPS)


def change_gain(waveform: Float[Tensor, " samples"], gain_db: float) -> Float[Tensor, " samples"]:
    """Return the recording louder (above 0) or quieter by ``gain_db`` decibels; nothing is clipped."""
    return waveform * 10 ** (gain_db / 20)


def add_noise(
    waveform: Float[Tensor, " samples"], noise: Float[Tensor, " noise_samples"], snr_db: float
) -> Float[Tensor, " samples"]:
    """Return the recording with noise at a signal-to-noise ratio over its full length.

    The noise is truncated or repeated to the length of the recording; on silence it is 0.

    Raises:
        UserError: if the noise is empty or silent where it is used.
    """
    repeated = noise.repeat(ceil(len(waveform) / max(len(noise), 1)))[: len(waveform)]
    if len(waveform) and not repeated.any():
        raise UserError(f"the noise of {len(noise)} samples is silent, no ratio can be set; give another recording")
    mixed: Tensor = audio.add_noise(waveform, repeated, waveform.new_tensor(snr_db))
    return mixed


def _random_below(limit: Int[Tensor, "*any"]) -> Int[Tensor, "*any"]:
    """Return random integers below ``limit``, 0 where that is 0 or less."""
    return (torch.rand(limit.shape, device=limit.device) * limit.clamp(min=0)).long()


def _random_bands(
    size: Int[Tensor, " batch"], limit: Int[Tensor, " batch"], count: int
) -> tuple[Int[Tensor, "batch mask"], Int[Tensor, "batch mask"]]:
    """Return start and end of ``count`` masks per item, each narrower than ``limit`` and within ``size``."""
    width = _random_below(limit[:, None].expand(-1, count))
    # ESPnet subtracts the widest mask of the batch from the range of starts; here narrow masks can reach the end.
    start = _random_below(size[:, None] - width + 1)
    return start, start + width


def _cover(bands: tuple[Int[Tensor, "batch band"], Int[Tensor, "batch band"]], size: int) -> Bool[Tensor, "batch size"]:
    start, end = bands
    position = torch.arange(size, device=start.device)
    return ((position >= start[..., None]) & (position < end[..., None])).any(1)


def _cubic_weights(fraction: Float[Tensor, "*any"]) -> list[Float[Tensor, "*any"]]:
    """Return the weights of the frames at -1, 0, 1 and 2 (Keys, cubic convolution)."""
    distance = torch.stack([1 + fraction, fraction, 1 - fraction, 2 - fraction])
    near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance.square() + 1
    far = _CUBIC * (((distance - 5) * distance + 8) * distance - 4)
    return [far[0], near[1], near[2], far[3]]
