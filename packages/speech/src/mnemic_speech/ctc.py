"""CTC decoding: best path, and prefix scores for beam search."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mnemic_speech.token_scorer import BeamState, select_beams

LOWEST = -1e5  # log-probability of an impossible token in one frame; finite, so that cumulative sums can be subtracted


def greedy_ctc(
    log_probs: Float[Tensor, "batch frame vocab"], lengths: Int[Tensor, " batch"], blank: int = 0
) -> list[list[int]]:
    """Return the tokens of the most probable path of each utterance: repeats merged, blanks removed.

    Example:
        >>> path = torch.tensor([[0, 2, 2, 0, 2, 1]])
        >>> greedy_ctc(torch.nn.functional.one_hot(path, 3).float(), torch.tensor([6]))
        [[2, 2, 1]]
    """
    best = log_probs.argmax(-1)
    kept = _starts(best, lengths, blank)
    return [row[where].tolist() for row, where in zip(best.cpu(), kept.cpu(), strict=True)]


def greedy_lengths(
    log_probs: Float[Tensor, "batch frame vocab"], lengths: Int[Tensor, " batch"], blank: int = 0
) -> Int[Tensor, " batch"]:
    """Return the number of tokens that :func:`greedy_ctc` finds in each utterance."""
    return _starts(log_probs.argmax(-1), lengths, blank).sum(1)


def _starts(
    best: Int[Tensor, "batch frame"], lengths: Int[Tensor, " batch"], blank: int
) -> Bool[Tensor, "batch frame"]:
    """Return True at the first frame of each token of a path."""
    changed = F.pad(best[:, 1:] != best[:, :-1], (1, 0), value=True)
    inside = torch.arange(best.shape[1], device=best.device) < lengths[:, None]
    return changed & (best != blank) & inside


@dataclass(frozen=True)
class CtcPrefixState(BeamState):
    """Forward variables of the hypotheses, and the frames of their utterance.

    Entry ``n`` of the axis ``prefix`` is for the first ``n`` frames.

    Attributes:
        non_blank: log-probability of the paths ending in the last token.
        blank: log-probability of the paths ending in a blank.
        last: last token of each hypothesis; the start symbol where there is none.
        score: log-probability of all texts that begin with the hypothesis.
        log_probs: of the frames.
        probs: of the frames, divided by the maximum of the token over frames; 0 in padding.
        peak: logarithm of that maximum.
        lengths: frames of each utterance.
    """

    non_blank: Float[Tensor, "batch beam prefix"]
    blank: Float[Tensor, "batch beam prefix"]
    last: Int[Tensor, "batch beam"]
    score: Float[Tensor, "batch beam"]
    log_probs: Float[Tensor, "batch frame vocab"]
    probs: Float[Tensor, "batch frame vocab"]
    peak: Float[Tensor, "batch vocab"]
    lengths: Int[Tensor, " batch"]

    def reorder(self, parents: Int[Tensor, "batch beam"]) -> "CtcPrefixState":
        """Return the state with the hypotheses of each beam replaced by those at ``parents``."""
        chosen = {name: select_beams(getattr(self, name), parents) for name in ("non_blank", "blank", "last", "score")}
        return replace(self, **chosen)


class CtcPrefixScorer:
    """CTC prefix log-probability of the next token (arXiv:1706.02737, section 2.2; Graves 2008, section 7.5.1).

    The forward variables of a hypothesis obey a linear recursion over frames, which two cumulative sums in the log
    domain solve for all frames at once; one matrix product then scores the full vocabulary, so tokens need no
    preselection by attention score. There is no loop over frames, tokens or hypotheses.

    Args:
        sos_eos: the start and end symbol.
        blank: the blank token, never proposed as the next token.
    """

    def __init__(self, sos_eos: int, blank: int = 0) -> None:
        self.sos_eos, self.blank = sos_eos, blank

    def init_state(
        self, log_probs: Float[Tensor, "batch frame vocab"], lengths: Int[Tensor, " batch"], beam: int = 1
    ) -> CtcPrefixState:
        """Return the state of empty hypotheses.

        Args:
            log_probs: normalized, of each frame, at least one frame; stored without a copy.
            lengths: frames of each utterance.
            beam: hypotheses per utterance.
        """
        batch, frames, _ = log_probs.shape
        padding = torch.arange(frames, device=log_probs.device) >= lengths[:, None]
        probs = log_probs.float().masked_fill(padding[..., None], -torch.inf)
        peak = probs.amax(1)
        probs.sub_(peak.clamp(min=LOWEST)[:, None]).exp_()
        silence = log_probs[..., self.blank].double().clamp(min=LOWEST).masked_fill(padding, 0).cumsum(1)
        silence = F.pad(silence, (1, 0))[:, None].expand(batch, beam, frames + 1)
        last = torch.full((batch, beam), self.sos_eos, device=log_probs.device)
        score = torch.zeros_like(last, dtype=torch.double)
        impossible = torch.full_like(silence, -torch.inf)
        return CtcPrefixState(impossible, silence.clone(), last, score, log_probs, probs, peak, lengths)

    def step(
        self, tokens: Int[Tensor, "batch beam"], state: CtcPrefixState
    ) -> tuple[Float[Tensor, "batch beam vocab"], CtcPrefixState]:
        """Return the log-probability of every token that may follow ``tokens``, and the state that includes them.

        The start symbol leaves the hypothesis empty. Probabilities of the next tokens and the end symbol sum to 1; a
        hypothesis too long for its frames has probability 0.
        """
        state = self._append(tokens, state)
        longer = self._prefix_scores(state)
        found = (longer - state.score[..., None]).float()
        # Of impossible hypotheses too, where the difference is NaN.
        return found.masked_fill(longer.isneginf(), -torch.inf), state

    def _append(self, tokens: Int[Tensor, "batch beam"], state: CtcPrefixState) -> CtcPrefixState:
        """Return the state of the hypotheses with one more token each; the start symbol changes nothing.

        With x the log-probabilities of the token, X their cumulative sum and p the paths it can extend:
        non_blank[t] = log(exp non_blank[t-1] + exp p[t-1]) + x[t], hence non_blank - X is the cumulative sum of
        p - X, one frame earlier; blank likewise.
        """
        token, blank = _columns(state, tokens), _columns(state, torch.full_like(tokens, self.blank))
        ready = _extendable(state, tokens)
        non_blank = _solve(ready, token)
        added = replace(
            state,
            non_blank=non_blank,
            blank=_solve(non_blank[..., :-1], blank),
            last=tokens,
            score=(_mask_padding(ready, state.lengths) + token).logsumexp(-1),
        )
        unchanged = tokens == self.sos_eos
        return replace(
            state,
            non_blank=torch.where(unchanged[..., None], state.non_blank, added.non_blank),
            blank=torch.where(unchanged[..., None], state.blank, added.blank),
            last=torch.where(unchanged, state.last, added.last),
            score=torch.where(unchanged, state.score, added.score),
        )

    def _prefix_scores(self, state: CtcPrefixState) -> Float[Tensor, "batch beam vocab"]:
        """Return the log-probability of all texts with a hypothesis plus one token as prefix."""
        either = torch.logaddexp(state.non_blank, state.blank)
        ready = _mask_padding(either[..., :-1], state.lengths)
        highest = ready.amax(-1, keepdim=True)
        weights = (ready - highest.clamp(min=torch.finfo(ready.dtype).min)).exp().float()
        # A token below 1e-38 of its hypothesis underflows in single precision. Only impossible tokens may be -inf, so
        # clamp to the smallest normal number; no search keeps such a token anyway.
        summed = (weights @ state.probs).clamp(min=torch.finfo(torch.float).tiny)
        scores = summed.double().log() + highest + state.peak[:, None]
        repeat = _mask_padding(_extendable(state, state.last), state.lengths) + _columns(state, state.last)
        scores.scatter_(2, state.last[..., None], repeat.logsumexp(-1, keepdim=True))
        end = state.lengths[:, None, None].expand(-1, either.shape[1], 1)
        scores[..., self.sos_eos] = either.gather(2, end)[..., 0]
        scores[..., self.blank] = -torch.inf
        return scores


def _columns(state: CtcPrefixState, tokens: Int[Tensor, "batch beam"]) -> Float[Tensor, "batch beam frame"]:
    """Return the log-probabilities of one token per hypothesis along the frames; 0 in padding."""
    log_probs = state.log_probs
    index = tokens[:, None].expand(-1, log_probs.shape[1], -1)
    chosen = log_probs.gather(2, index).transpose(1, 2).double().clamp(min=LOWEST)
    padding = torch.arange(log_probs.shape[1], device=log_probs.device) >= state.lengths[:, None, None]
    return chosen.masked_fill(padding, 0)


def _extendable(state: CtcPrefixState, tokens: Int[Tensor, "batch beam"]) -> Float[Tensor, "batch beam frame"]:
    """Return the log-probability of the paths a token can extend, before each frame; a repeat needs a blank between."""
    either = torch.logaddexp(state.non_blank, state.blank)
    return torch.where((tokens == state.last)[..., None], state.blank, either)[..., :-1]


def _mask_padding(
    ready: Float[Tensor, "batch beam frame"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch beam frame"]:
    """Set -inf at padding."""
    frame = torch.arange(ready.shape[-1], device=ready.device)
    return ready.masked_fill(frame >= lengths[:, None, None], -torch.inf)


def _solve(
    added: Float[Tensor, "batch beam frame"], log_probs: Float[Tensor, "batch beam frame"]
) -> Float[Tensor, "batch beam prefix"]:
    """Return y of y[t] = log(exp y[t-1] + exp added[t-1]) + log_probs[t] for all t, with y[0] = -inf."""
    # Double precision: the sums over a minute of frames reach -50,000, of which single precision keeps two decimals.
    total = log_probs.cumsum(-1)
    return F.pad(total + (added - (total - log_probs)).logcumsumexp(-1), (1, 0), value=-torch.inf)
