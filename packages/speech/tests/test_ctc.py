from itertools import product

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mnemic_speech.ctc import CtcPrefixScorer, greedy_ctc, greedy_lengths

VOCAB, SOS_EOS = 4, 3
LENGTHS = torch.tensor([5, 3])


@pytest.fixture
def log_probs() -> Tensor:
    torch.manual_seed(0)
    return (2 * torch.randn(2, 5, VOCAB)).log_softmax(-1)


@pytest.fixture
def scorer() -> CtcPrefixScorer:
    return CtcPrefixScorer(SOS_EOS)


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(token for i, token in enumerate(path) if token and (i == 0 or token != path[i - 1]))


def texts_by_enumeration(log_probs: Tensor) -> dict[tuple[int, ...], float]:
    """Return the probability of every text, from every path."""
    texts: dict[tuple[int, ...], float] = {}
    for path in product(range(VOCAB), repeat=len(log_probs)):
        prob = sum(log_probs[i, token] for i, token in enumerate(path)).exp()
        texts[collapse(path)] = texts.get(collapse(path), 0.0) + float(prob)
    return texts


def score_along(scorer: CtcPrefixScorer, log_probs: Tensor, lengths: Tensor, text: list[int]) -> Tensor:
    """Return the log-probabilities of what follows a text, with everything before it added."""
    state = scorer.init_state(log_probs, lengths)
    total = torch.zeros(len(log_probs))
    for i, token in enumerate([SOS_EOS, *text]):
        found, state = scorer.step(torch.full((len(log_probs), 1), token), state)
        if i < len(text):
            total = total + found[:, 0, text[i]]
    return total[:, None] + found[:, 0]


@pytest.mark.parametrize("text", [[], [1], [2, 2], [1, 2, 1], [2, 2, 2]], ids=str)
def test_prefix_scores_equal_the_sum_over_every_path(
    scorer: CtcPrefixScorer, log_probs: Tensor, text: list[int]
) -> None:
    # The end symbol is a token like any other to CTC; here it must not occur within a text.
    log_probs = log_probs.index_fill(2, torch.tensor([SOS_EOS]), -torch.inf).log_softmax(-1)
    found = score_along(scorer, log_probs, LENGTHS, text).exp()
    for row, length in enumerate(LENGTHS.tolist()):
        texts = texts_by_enumeration(log_probs[row, :length])
        for token in (1, 2):
            begin = (*text, token)
            expected = sum(prob for other, prob in texts.items() if other[: len(begin)] == begin)
            assert float(found[row, token]) == pytest.approx(expected, rel=1e-4)
        assert float(found[row, SOS_EOS]) == pytest.approx(texts.get(tuple(text), 0.0), rel=1e-4)


def test_what_may_follow_a_hypothesis_sums_to_one(scorer: CtcPrefixScorer, log_probs: Tensor) -> None:
    log_probs = log_probs.index_fill(2, torch.tensor([SOS_EOS]), -torch.inf).log_softmax(-1)
    state = scorer.init_state(log_probs, LENGTHS, beam=2)
    for tokens in ([[SOS_EOS, SOS_EOS]] * 2, [[1, 2]] * 2, [[1, 1]] * 2):
        found, state = scorer.step(torch.tensor(tokens), state)
        possible = state.score.isfinite()
        assert_close(found.exp().sum(-1)[possible], torch.ones(int(possible.sum())))


def test_the_blank_is_never_a_next_token(scorer: CtcPrefixScorer, log_probs: Tensor) -> None:
    found, _ = scorer.step(torch.full((2, 1), SOS_EOS), scorer.init_state(log_probs, LENGTHS))
    assert found[..., 0].isneginf().all()


def test_beams_are_scored_as_if_alone(scorer: CtcPrefixScorer, log_probs: Tensor) -> None:
    start = scorer.init_state(log_probs, LENGTHS, beam=2)
    _, state = scorer.step(torch.tensor([[1, 2], [2, 1]]), scorer.step(torch.full((2, 2), SOS_EOS), start)[1])
    parents, tokens = torch.tensor([[1, 1], [0, 1]]), torch.tensor([[1, 2], [1, 1]])
    together, _ = scorer.step(tokens, state.reorder(parents))
    first = torch.tensor([[2, 2], [2, 1]])
    for row, beam in product(range(2), range(2)):
        single = scorer.init_state(log_probs[row : row + 1], LENGTHS[row : row + 1])
        for token in (torch.tensor([[SOS_EOS]]), first[row, beam].view(1, 1)):
            _, single = scorer.step(token, single)
        assert_close(together[row, beam], scorer.step(tokens[row, beam].view(1, 1), single)[0][0, 0])


def test_padding_does_not_matter_even_if_nan(scorer: CtcPrefixScorer, log_probs: Tensor) -> None:
    corrupted = log_probs.clone()
    corrupted[1, 3:] = torch.nan
    padded = score_along(scorer, corrupted, LENGTHS, [1, 2])[1:]
    assert_close(padded, score_along(scorer, log_probs[1:, :3], LENGTHS[1:], [1, 2]))


def test_a_text_too_long_for_its_frames_is_impossible(scorer: CtcPrefixScorer, log_probs: Tensor) -> None:
    found = score_along(scorer, log_probs, LENGTHS, [1, 1, 1])
    assert found[1].isneginf().all()
    assert found[0, SOS_EOS].isfinite()


def test_without_frames_only_the_empty_text_is_possible(scorer: CtcPrefixScorer) -> None:
    found = score_along(scorer, torch.zeros(1, 1, VOCAB), torch.tensor([0]), [])
    assert found[0].tolist() == [-torch.inf, -torch.inf, -torch.inf, 0.0]


def test_an_hour_of_silence_keeps_its_precision(scorer: CtcPrefixScorer) -> None:
    frames = 90_000
    log_probs = torch.tensor([-0.25, -40.0, -40.0, -60.0]).expand(1, frames, VOCAB)
    found, state = scorer.step(torch.tensor([[SOS_EOS]]), scorer.init_state(log_probs, torch.tensor([frames])))
    assert_close(found[0, 0, SOS_EOS], torch.tensor(-0.25 * frames))
    _, state = scorer.step(torch.tensor([[1]]), state)
    # One token in any frame among blanks, or several frames long, which adds less than 1e-12.
    expected = torch.tensor(frames, dtype=torch.double).log() - 40 + 0.25 - 0.25 * frames
    complete = torch.logaddexp(state.non_blank, state.blank)[0, 0, -1]
    assert_close(complete, expected, rtol=0, atol=1e-6)


def test_greedy_merges_repeats_and_drops_blanks_and_padding() -> None:
    path = torch.tensor([[0, 2, 2, 0, 2, 1], [1, 1, 0, 2, 2, 2], [0, 0, 0, 0, 0, 0]])
    log_probs, lengths = torch.nn.functional.one_hot(path, 3).log(), torch.tensor([6, 3, 0])
    assert greedy_ctc(log_probs, lengths) == [[2, 2, 1], [1], []]
    assert greedy_lengths(log_probs, lengths).tolist() == [3, 1, 0]
