"""Input features of a batch in training."""

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_speech.data.batching import SpeechBatch
from mnemic_speech.features import Features, Normalizer

_MULTIPLE = 32  # frames are padded to a multiple: fewer shapes are a quarter faster on a CPU


def network_input(
    features: Features, normalizer: Normalizer, masks: nn.Module, batch: SpeechBatch
) -> tuple[Float[Tensor, "batch frame mel"], Int[Tensor, " batch"]]:
    """Return normalized features of a batch and their frames, masked where ``masks`` is in training mode."""
    x, lengths = _extract_features(features, batch)
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        # As in the recipe, masks come before the mean of the training set is subtracted; they must not change the mean
        # of an utterance, though.
        parts = [normalizer, masks] if normalizer.kind == "utterance" else [masks, normalizer]
        for part in parts:
            x = part(x, lengths)
    return F.pad(x, (0, 0, 0, -x.shape[1] % _MULTIPLE)), lengths


def fit_normalizer(features: Features, batches: Iterable[SpeechBatch]) -> Normalizer:
    """Return a normalizer with mean and variance of the features of some batches."""
    pairs = (_extract_features(features, batch) for batch in batches)
    return Normalizer.fit(row[:length] for pair in pairs for row, length in zip(*pair, strict=True))


def _extract_features(
    features: Features, batch: SpeechBatch
) -> tuple[Float[Tensor, "batch frame mel"], Int[Tensor, " batch"]]:
    """Return the features of a batch and their frames, in single precision."""
    with torch.no_grad(), torch.autocast(batch.inputs.device.type, enabled=False):
        extracted, lengths = features(batch.inputs, batch.lengths)
    return extracted, lengths
