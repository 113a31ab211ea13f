"""Losses of joint CTC and attention training, normalized as in ESPnet: summed, then divided by the batch size."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def label_smoothing_loss(
    logits: Float[Tensor, "batch token vocab"],
    targets: Int[Tensor, "batch token"],
    smoothing: float,
    ignore: int = -1,
) -> Float[Tensor, ""]:
    """Return the Kullback-Leibler divergence from the smoothed targets, summed over tokens, per utterance.

    Args:
        logits: of the next token.
        targets: the true next token.
        smoothing: probability that the other ``vocab - 1`` tokens share, in [0, 1) (arXiv:1512.00567, section 7).
        ignore: target of positions to exclude.
    """
    log_probs = logits.float().log_softmax(-1)
    counted = targets != ignore
    low, high = smoothing / (logits.shape[-1] - 1), 1 - smoothing
    # sum p log p of a target distribution: constant, but makes the loss 0 at the optimum.
    entropy = high * math.log(high) + (smoothing * math.log(low) if smoothing else 0.0)
    chosen = log_probs.gather(-1, targets.masked_fill(~counted, 0)[..., None])[..., 0]
    divergence = entropy - (high - low) * chosen - low * log_probs.sum(-1)
    return divergence.masked_fill(~counted, 0).sum() / len(targets)


def ctc_loss(
    log_probs: Float[Tensor, "batch frame vocab"],
    hidden_lengths: Int[Tensor, " batch"],
    tokens: Int[Tensor, "batch token"],
    token_lengths: Int[Tensor, " batch"],
    blank: int = 0,
) -> Float[Tensor, ""]:
    """Return the negative log-likelihood of all alignments, per utterance (Graves et al. 2006).

    An utterance with too many tokens for its frames counts 0, as in ESPnet, instead of infinity.

    Args:
        log_probs: normalized, of each frame.
        hidden_lengths: frames of each utterance.
        tokens: the text; values beyond its length are ignored.
        token_lengths: tokens of each utterance.
        blank: the blank token.
    """
    position = torch.arange(tokens.shape[1], device=tokens.device)
    targets = tokens.masked_fill(position >= token_lengths[:, None], blank)  # padding may hold invalid tokens
    frames_first = log_probs.float().transpose(0, 1)
    loss = F.ctc_loss(
        frames_first, targets, hidden_lengths, token_lengths, blank=blank, reduction="sum", zero_infinity=True
    )
    return loss / len(tokens)


def add_sos_eos(
    tokens: Int[Tensor, "batch token"], token_lengths: Int[Tensor, " batch"], sos_eos: int, ignore: int = -1
) -> tuple[Int[Tensor, "batch longer"], Int[Tensor, "batch longer"]]:
    """Return inputs (start symbol, text) and targets (text, end symbol) of the decoder.

    Inputs are padded with ``sos_eos`` and targets with ``ignore``; tokens beyond the lengths are ignored.
    """
    position = torch.arange(tokens.shape[1] + 1, device=tokens.device)
    lengths = token_lengths[:, None]
    inputs = F.pad(tokens, (1, 0), value=sos_eos).masked_fill(position > lengths, sos_eos)
    targets = F.pad(tokens, (0, 1), value=sos_eos).masked_fill(position == lengths, sos_eos)
    return inputs, targets.masked_fill(position > lengths, ignore)


def token_accuracy(
    logits: Float[Tensor, "batch token vocab"], targets: Int[Tensor, "batch token"], ignore: int = -1
) -> Float[Tensor, ""]:
    """Return the share of targets with the largest logit, in [0, 1]; 0 without any target."""
    counted = targets != ignore
    correct = (logits.argmax(-1) == targets) & counted
    return correct.sum() / counted.sum().clamp(min=1)
