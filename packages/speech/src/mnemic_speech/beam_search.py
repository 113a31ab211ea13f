"""Joint decoding of attention, CTC and language model by beam search, batched over utterances and hypotheses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemic_core.errors import UserError, check_range
from mnemic_speech.ctc import CtcPrefixScorer, greedy_lengths
from mnemic_speech.decoder import TransformerDecoder
from mnemic_speech.token_scorer import TokenScorer, select_beams

BLANK = 0
END_MARGIN = 10.0  # nats, D_end of arXiv:1706.02737 (equation 12), as in ESPnet
END_LENGTHS = 3  # M, likewise
WIDEST_BEAM = 1000  # memory grows with it, and nothing is gained from far fewer on
INITIAL_CAPACITY = 64  # initial capacity of the decoder cache in tokens


@dataclass(frozen=True)
class BeamSearchConfig:
    """Scoring weights and limits of the beam search; the defaults are the paper's, with a smaller beam.

    Args:
        beam: hypotheses per utterance, at most 1000; 1 is greedy. The paper's 60 is hardly better than 20.
        num_best: finished hypotheses to return, at most ``beam``; the search ends once no other can displace them.
        ctc_weight: share of CTC in the score, in [0, 1]: 0 is attention alone, 1 CTC alone.
        lm_weight: weight of the language model, added to both; 0 without one.
        length_penalty: added for each token and for the end, positive for longer texts (ESPnet's ``penalty``).
        max_length_ratio: most tokens per frame; 0 for one per frame.
        min_length_ratio: fewest tokens per frame.
        max_ctc_ratio: limit on the tokens of a hypothesis, as a multiple of one plus those of the best CTC path:
            on silence and noise an attention decoder may repeat itself endlessly. 0: no limit, as in ESPnet; without
            CTC it is unused.
    """

    beam: int = 10
    num_best: int = 1
    ctc_weight: float = 0.3
    lm_weight: float = 0.0
    length_penalty: float = 0.0
    max_length_ratio: float = 0.0
    min_length_ratio: float = 0.0
    max_ctc_ratio: float = 2.0

    def __post_init__(self) -> None:
        check_range(self, 1, WIDEST_BEAM, "beam")
        check_range(self, 1, self.beam, "num_best")
        check_range(self, 0, 1, "ctc_weight")
        check_range(self, 0, inf, "lm_weight", "max_length_ratio", "min_length_ratio", "max_ctc_ratio")
        check_range(self, -inf, inf, "length_penalty")


@dataclass(frozen=True)
class Hypothesis:
    """A text with its score.

    Attributes:
        tokens: without start and end symbol.
        score: weighted sum of the other scores plus the length penalty.
        attention_score: log-probability under the decoder; 0 if not used, as for the others.
        ctc_score: log-probability under CTC.
        lm_score: log-probability under the language model.
    """

    tokens: list[int]
    score: float
    attention_score: float
    ctc_score: float
    lm_score: float


@torch.no_grad()
def beam_search(
    decoder: TransformerDecoder | None,
    hidden: Float[Tensor, "batch frame dim"],
    padding: Bool[Tensor, "batch frame"],
    ctc_log_probs: Float[Tensor, "batch frame vocab"] | None,
    config: BeamSearchConfig,
    *,
    sos_eos: int,
    language_model: TokenScorer | None = None,
) -> list[list[Hypothesis]]:
    """Return the best texts of each utterance, the best first (Watanabe et al., arXiv:1706.02737, algorithm 2).

    Every step scores all tokens after all hypotheses of all utterances at once. An utterance is done, and leaves the
    batch, once no hypothesis can overtake the ``num_best`` finished ones, or by ESPnet's end detection: in each of the
    last 3 lengths a text was finished, and all were 10 nats worse than the best. Unlike in ESPnet that best must also
    lead the unfinished ones: a confident decoder scores early ends ever lower, so that the rule alone would stop it in
    the middle of a text.

    Args:
        decoder: the attention decoder, in evaluation mode; None with ``ctc_weight`` 1.
        hidden: the encoder's frames, at least one.
        padding: True at frames to ignore.
        ctc_log_probs: normalized, of each frame; None with ``ctc_weight`` 0.
        config: weights and limits.
        sos_eos: the start and end symbol.
        language_model: a model for shallow fusion; needed if its weight is not 0.

    Raises:
        UserError: if a part that has a weight is missing, or if there are no frames or some that are not finite.

    Example:
        >>> log_probs = torch.tensor([[[0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]]).log()
        >>> frames, padding = torch.zeros(1, 3, 8), torch.zeros(1, 3, dtype=torch.bool)
        >>> (best,) = beam_search(None, frames, padding, log_probs, BeamSearchConfig(ctc_weight=1.0), sos_eos=2)
        >>> best[0].tokens
        [1, 1]
    """
    _check(decoder, hidden, padding, ctc_log_probs, config, language_model)
    lengths = (~padding).sum(1)
    scorers: list[_Scorer] = []
    if decoder is not None and config.ctc_weight < 1:
        capacity = min(INITIAL_CAPACITY, hidden.shape[1] + 1)
        state: Any = decoder.init_state(hidden, padding, capacity, config.beam)
        scorers.append(_Scorer("attention_score", 1 - config.ctc_weight, decoder.step, state))
    if ctc_log_probs is not None and config.ctc_weight > 0:
        prefixes = CtcPrefixScorer(sos_eos, BLANK)
        state = prefixes.init_state(ctc_log_probs, lengths, config.beam)
        scorers.append(_Scorer("ctc_score", config.ctc_weight, prefixes.step, state))
    if language_model is not None and config.lm_weight > 0:
        state = language_model.init_state(len(hidden), config.beam)
        scorers.append(_Scorer("lm_score", config.lm_weight, language_model.step, state))
    shortest, longest = _length_limits(config, lengths, ctc_log_probs)
    return _Search(scorers, config, sos_eos, shortest, longest).run()


@torch.no_grad()
def attention_rescore(
    decoder: TransformerDecoder,
    hidden: Float[Tensor, "batch frame dim"],
    padding: Bool[Tensor, "batch frame"],
    hypotheses: Sequence[Sequence[Hypothesis]],
    ctc_weight: float,
    *,
    sos_eos: int,
) -> list[list[Hypothesis]]:
    """Rescore the hypotheses of a search with ``ctc_weight`` 1 with the decoder in one pass; return them best first.

    ``ctc_weight`` is the new share of CTC in the score; language model and length terms are unchanged.
    """
    ranked = []
    for row, found in enumerate(hypotheses):  # one utterance at a time: tokens times vocabulary are in memory
        lengths = torch.tensor([[len(hypothesis.tokens) for hypothesis in found]], device=hidden.device)
        padded = [h.tokens + [sos_eos] * (int(lengths.max()) - len(h.tokens)) for h in found]
        tokens = torch.tensor([padded], dtype=torch.long, device=hidden.device)
        one = slice(row, row + 1)
        scores = decoder.log_prob(tokens, lengths, hidden[one], padding[one], sos_eos=sos_eos)[0].tolist()
        rated = [
            replace(h, score=h.score + (1 - ctc_weight) * (score - h.ctc_score), attention_score=score)
            for h, score in zip(found, scores, strict=True)
        ]
        ranked.append(sorted(rated, key=lambda hypothesis: hypothesis.score, reverse=True))
    return ranked


def _check(
    decoder: TransformerDecoder | None,
    hidden: Float[Tensor, "batch frame dim"],
    padding: Bool[Tensor, "batch frame"],
    ctc_log_probs: Float[Tensor, "batch frame vocab"] | None,
    config: BeamSearchConfig,
    language_model: TokenScorer | None,
) -> None:
    weight = config.ctc_weight
    if decoder is None and weight < 1:
        raise UserError(f"ctc_weight {weight} needs an attention decoder, got None; 1 needs none")
    if ctc_log_probs is None and weight > 0:
        raise UserError(f"ctc_weight {weight} needs ctc_log_probs, got None; 0 needs none")
    if (language_model is None) != (config.lm_weight == 0):
        given = "none" if language_model is None else "one"
        raise UserError(f"lm_weight is {config.lm_weight} but {given} was given as language_model; set both or neither")
    if not hidden.shape[1]:
        raise UserError("hidden has no frame, expected at least one; leave out recordings that are this short")
    if not bool((hidden.isfinite().all(-1) | padding).all()):
        raise UserError("hidden has NaN or infinite values in valid frames; check the features and the weights")
    if ctc_log_probs is not None and not bool(((ctc_log_probs <= 0).all(-1) | padding).all()):
        raise UserError("ctc_log_probs has NaN or positive values in valid frames; apply log_softmax to the logits")


def _length_limits(
    config: BeamSearchConfig,
    lengths: Int[Tensor, " batch"],
    ctc_log_probs: Float[Tensor, "batch frame vocab"] | None,
) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
    """Return the fewest and the most tokens of each utterance."""
    shortest = (config.min_length_ratio * lengths).long()
    longest = (config.max_length_ratio * lengths).long().clamp(min=1) if config.max_length_ratio else lengths
    if ctc_log_probs is not None and config.max_ctc_ratio:
        greedy = greedy_lengths(ctc_log_probs, lengths, BLANK) + 1
        longest = longest.minimum((config.max_ctc_ratio * greedy).long())
    return shortest, longest.maximum(shortest)


@dataclass
class _Scorer:
    """One term of the score."""

    name: str
    weight: float
    step: Callable[[Tensor, Any], tuple[Tensor, Any]]
    state: Any


class _Search:
    """Hypotheses of a batch of utterances, extended step by step.

    Tensors hold the utterances that are not done. A beam entry whose hypothesis was finished has score -inf until the
    next step replaces it.
    """

    def __init__(
        self,
        scorers: list[_Scorer],
        config: BeamSearchConfig,
        sos_eos: int,
        shortest: Int[Tensor, " batch"],
        longest: Int[Tensor, " batch"],
    ) -> None:
        batch, device = len(longest), longest.device
        self.scorers, self.config, self.sos_eos = scorers, config, sos_eos
        self.results: list[list[Hypothesis]] = [[] for _ in range(batch)]
        self.rows = torch.arange(batch, device=device)  # utterance of each row
        self.shortest, self.longest = shortest, longest
        self.tokens = torch.full((batch, config.beam, 1), sos_eos, device=device)
        self.scores = torch.full((batch, config.beam), -torch.inf, device=device)
        self.scores[:, 0] = 0  # the other entries would be copies of the first
        self.parts = torch.zeros(batch, config.beam, len(scorers), device=device)
        self.best_tokens = torch.full((batch, config.num_best, 1), sos_eos, device=device)
        self.best_scores = torch.full((batch, config.num_best), -torch.inf, device=device)
        self.best_parts = torch.zeros(batch, config.num_best, len(scorers), device=device)
        self.ended = torch.full((batch, END_LENGTHS), -torch.inf, device=device)  # best of each of the last lengths

    def run(self) -> list[list[Hypothesis]]:
        """Return the finished hypotheses of each utterance."""
        for length in range(int(self.longest.max()) + 1):
            self._extend(length)
            self._finish()
            self._drop_done(length)
            if not len(self.rows):
                return self.results
        raise UserError("a decoder or language model gave NaN as a log-probability; check its weights")

    def _extend(self, length: int) -> None:
        """Score every token after every hypothesis of ``length`` tokens, and keep the best continuations."""
        scored = []
        for scorer in self.scorers:
            log_probs, scorer.state = scorer.step(self.tokens[..., -1], scorer.state.reserve(length + 1))
            scored.append(log_probs)
        terms = (scorer.weight * log_probs for scorer, log_probs in zip(self.scorers, scored, strict=True))
        total = sum(terms, self.scores[..., None] + self.config.length_penalty)
        total = self._mask_forbidden(total, length)
        self.scores, index = total.flatten(1).topk(self.config.beam)
        parents, chosen = index // total.shape[2], index % total.shape[2]
        gained = [select_beams(log_probs, parents).gather(2, chosen[..., None]) for log_probs in scored]
        self.parts = select_beams(self.parts, parents) + torch.cat(gained, -1)
        self.tokens = torch.cat([select_beams(self.tokens, parents), chosen[..., None]], -1)
        for scorer in self.scorers:
            scorer.state = scorer.state.reorder(parents)

    def _mask_forbidden(
        self, total: Float[Tensor, "batch beam vocab"], length: int
    ) -> Float[Tensor, "batch beam vocab"]:
        """Set -inf for the blank, for the end of too short hypotheses and for all else of too long ones."""
        end = total[..., self.sos_eos].masked_fill((length < self.shortest)[:, None], -torch.inf)
        # Unlike ESPnet, which at the maximum length appends the end symbol without its score.
        total = total.masked_fill((length >= self.longest)[:, None, None], -torch.inf)
        total[..., BLANK] = -torch.inf
        total[..., self.sos_eos] = end
        return total

    def _finish(self) -> None:
        """Move finished hypotheses out of the beams and keep the best finished so far."""
        ended = self.tokens[..., -1] == self.sos_eos
        new = self.scores.masked_fill(~ended, -torch.inf)
        self.ended = torch.cat([self.ended[:, 1:], new.amax(1, keepdim=True)], 1)
        self.best_scores, order = torch.cat([self.best_scores, new], 1).topk(self.config.num_best)
        self.best_parts = select_beams(torch.cat([self.best_parts, self.parts], 1), order)
        padding = self.best_tokens.new_full((*self.best_tokens.shape[:2], 1), self.sos_eos)
        longer = torch.cat([self.best_tokens, padding], -1)
        self.best_tokens = select_beams(torch.cat([longer, self.tokens], 1), order)
        self.scores = self.scores.masked_fill(ended, -torch.inf)

    def _drop_done(self, length: int) -> None:
        """Store the results of the utterances that are done and drop them from the batch."""
        # Only the length penalty can be positive, so this bounds the score of any continuation.
        bonus = max(self.config.length_penalty, 0.0) * (self.longest - length)
        leading, best = self.scores.amax(1), self.best_scores[:, 0]
        hopeless = (self.ended.isfinite() & (self.ended < best[:, None] - END_MARGIN)).all(1)
        done = (leading + bonus <= self.best_scores[:, -1]) | (hopeless & (leading <= best))
        if not bool(done.any()):
            return
        self._store(done)
        kept = ~done
        for name in ("rows", "shortest", "longest", "tokens", "scores", "parts", "ended"):
            setattr(self, name, getattr(self, name)[kept])
        self.best_tokens, self.best_scores, self.best_parts = (
            tensor[kept] for tensor in (self.best_tokens, self.best_scores, self.best_parts)
        )
        for scorer in self.scorers:
            scorer.state = scorer.state.index_select(kept)

    def _store(self, done: Bool[Tensor, " batch"]) -> None:
        columns = (self.rows, self.best_tokens, self.best_scores, self.best_parts)
        for row, texts, scores, parts in zip(*(tensor[done].tolist() for tensor in columns), strict=True):
            self.results[row] = [
                self._hypothesis(text, score, part)
                for text, score, part in zip(texts, scores, parts, strict=True)
                if score > -torch.inf
            ]

    def _hypothesis(self, text: list[int], score: float, parts: list[float]) -> Hypothesis:
        named = dict.fromkeys(("attention_score", "ctc_score", "lm_score"), 0.0)
        named |= {scorer.name: part for scorer, part in zip(self.scorers, parts, strict=True)}
        return Hypothesis([token for token in text if token != self.sos_eos], score, **named)
