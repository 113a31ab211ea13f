import math
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.testing import assert_close

from mnemic_speech.beam_search import BeamSearchConfig, beam_search
from mnemic_speech.language_model import NgramModel
from mnemic_speech.token_scorer import TokenScorer

VOCAB, SOS_EOS = 6, 5
TEXTS = [[1, 2, 3], [1, 2, 1, 2, 3], [2, 3], [1, 2, 2, 2, 4], [], [1, 2, 3]]
ORDERS = [1, 2, 3, 4]


def train(order: int) -> NgramModel:
    return NgramModel.train(TEXTS, order, vocab_size=VOCAB, sos_eos=SOS_EOS)


class NaiveKneserNey:
    """The definition, n-gram by n-gram."""

    def __init__(self, order: int) -> None:
        self.order = order
        sentences = [(SOS_EOS, *text, SOS_EOS) for text in TEXTS]
        self.occurs = Counter(
            sentence[i : i + length]
            for sentence in sentences
            for length in range(1, order + 2)
            for i in range(len(sentence) - length + 1)
            if (i, length) != (0, 1)
        )

    def count(self, ngram: tuple[int, ...]) -> int:
        if len(ngram) == self.order or (len(ngram) > 1 and ngram[0] == SOS_EOS):
            return self.occurs[ngram]
        return sum((token, *ngram) in self.occurs for token in range(VOCAB))

    def discount(self, length: int) -> float:
        counts = Counter(self.count(ngram) for ngram in product(range(VOCAB), repeat=length))
        return min(max(counts[1] / (counts[1] + 2 * counts[2]), 0.1), 0.9)

    def prob(self, token: int, context: tuple[int, ...]) -> float:
        counts = [self.count((*context, other)) for other in range(VOCAB)]
        shorter = self.prob(token, context[1:]) if context else 1 / VOCAB
        if not sum(counts):
            return shorter
        discount = self.discount(len(context) + 1)
        left = discount * sum(count > 0 for count in counts)
        return (max(counts[token] - discount, 0) + left * shorter) / sum(counts)


def rows_along(model: NgramModel, text: list[int]) -> Tensor:
    """Return the log-probabilities of what follows each beginning of a text."""
    state, rows = model.init_state(1, 1), []
    for token in [SOS_EOS, *text]:
        log_probs, state = model.step(torch.tensor([[token]]), state)
        rows.append(log_probs[0, 0])
    return torch.stack(rows)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("text", [[1, 2, 3, 1], [2, 2, 2, 2], [4, 0, 1, 2], [3, 4]], ids=str)
def test_probabilities_are_those_of_the_definition(order: int, text: list[int]) -> None:
    found, naive = rows_along(train(order), text), NaiveKneserNey(order)
    for place, row in enumerate(found):
        context = (SOS_EOS, *text)[: place + 1][max(place + 2 - order, 0) :]
        expected = [naive.prob(token, context) for token in range(VOCAB)]
        assert_close(row.exp(), torch.tensor(expected))


@pytest.mark.parametrize("order", ORDERS)
def test_what_may_follow_any_text_sums_to_one(order: int) -> None:
    torch.manual_seed(0)
    rows = rows_along(train(order), torch.randint(0, SOS_EOS, (30,)).tolist())
    assert_close(rows.exp().sum(-1), torch.ones(31))
    assert rows.isfinite().all()


def test_longer_contexts_make_the_text_likelier() -> None:
    scores = []
    for order in ORDERS:
        rows = rows_along(train(order), [1, 2, 1, 2, 3])
        scores.append(float(sum(rows[i, token] for i, token in enumerate([1, 2, 1, 2, 3, SOS_EOS]))))
    assert scores == sorted(scores)


def test_beams_are_scored_as_if_alone() -> None:
    model, texts = train(3), [[[1, 2], [2, 2]], [[4, 4], [1, 1]]]
    tokens = torch.tensor(texts)
    state = model.init_state(2, 2)
    for column in (torch.full((2, 2), SOS_EOS), tokens[..., 0], tokens[..., 1]):
        log_probs, state = model.step(column, state)
    for row, beam in product(range(2), range(2)):
        assert_close(log_probs[row, beam], rows_along(model, texts[row][beam])[-1])
    swapped, _ = model.step(tokens[..., 0], state.reorder(torch.tensor([[1, 0], [1, 1]])))
    assert_close(swapped[0, 0], rows_along(model, [*texts[0][1], texts[0][0][0]])[-1])


def test_a_saved_model_gives_equal_scores(tmp_path: Path) -> None:
    model = train(3)
    model.save(tmp_path / "lm.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["lm.safetensors"]
    loaded = NgramModel.load(tmp_path / "lm.safetensors").to("cpu")
    assert_close(rows_along(loaded, [1, 2, 3, 4]), rows_along(model, [1, 2, 3, 4]))


def test_files_that_are_no_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        NgramModel.load(tmp_path / "absent.safetensors")
    other = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, other)
    with pytest.raises(ValueError, match=r"is not an n-gram model \(kind None\)"):
        NgramModel.load(other)
    other.write_bytes(other.read_bytes()[:20])
    with pytest.raises(ValueError, match="is truncated or not a checkpoint"):
        NgramModel.load(other)


def test_texts_and_orders_that_cannot_be_counted_are_refused() -> None:
    with pytest.raises(ValueError, match="there is no text"):
        NgramModel.train([], 2, vocab_size=VOCAB, sos_eos=SOS_EOS)
    with pytest.raises(ValueError, match=r"tokens must be in 0..5, got 1..9"):
        NgramModel.train([[1, 9]], 2, vocab_size=VOCAB, sos_eos=SOS_EOS)
    with pytest.raises(ValueError, match="order must be at least 1, got 0"):
        NgramModel.train(TEXTS, 0, vocab_size=VOCAB, sos_eos=SOS_EOS)


def test_fusion_decides_where_the_frames_do_not() -> None:
    log_probs = torch.full((1, 3, VOCAB), -20.0)
    log_probs[0, 0, 1] = 0.0
    log_probs[0, 2, [2, 4]] = torch.tensor([-0.8, -0.6])  # after 1, the texts have 2, never 4
    log_probs[0, 1, 0] = 0.0
    model = train(2)
    assert isinstance(model, TokenScorer)
    found = []
    for weight in (0.0, 0.5):
        config = BeamSearchConfig(beam=4, ctc_weight=1.0, lm_weight=weight)
        lm = model if weight else None
        frames = torch.zeros(1, 3, 2), torch.zeros(1, 3, dtype=torch.bool), log_probs
        found.append(beam_search(None, *frames, config, sos_eos=SOS_EOS, language_model=lm)[0][0])
    assert [hypothesis.tokens for hypothesis in found] == [[1, 4], [1, 2]]
    expected = rows_along(model, [1, 2])
    assert math.isclose(found[1].lm_score, float(expected[0, 1] + expected[1, 2] + expected[2, SOS_EOS]), abs_tol=1e-5)
