"""Samples as callers have them, as one-dimensional floating-point tensors."""

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mnemic_core.errors import UserError

Samples = Shaped[Tensor, " _samples"] | Shaped[np.ndarray, " _samples"]


def as_waveform(samples: Samples, position: int = 0, sample_rate: int | None = None) -> Float[Tensor, " samples"]:
    """Return samples in single precision, integers scaled to [-1, 1].

    Messages give times by the number of preceding samples and the sampling rate.

    Raises:
        UserError: if they are not mono, of another type, NaN or infinite.
    """
    waveform = torch.as_tensor(samples).detach().cpu()
    if waveform.ndim != 1:
        raise UserError(f"expected mono samples in one dimension, got {tuple(waveform.shape)}: average the channels")
    if not waveform.is_floating_point():
        if waveform.dtype not in (torch.int16, torch.int32):
            raise UserError(f"expected samples of floating point, int16 or int32, got {waveform.dtype}")
        return waveform.float() / (1 << (torch.iinfo(waveform.dtype).bits - 1))
    is_finite = waveform.isfinite()
    if not bool(is_finite.all()):
        place = position + int(is_finite.long().argmin())
        where = f"sample {place}" if sample_rate is None else f"{place / sample_rate:.3f} s"
        raise UserError(f"a sample is NaN or infinite at {where}: decode the recording again or leave it out")
    return waveform.float()
