from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from mnemic_speech.beam_search import BeamSearchConfig, Hypothesis, attention_rescore, beam_search
from mnemic_speech.decoder import TransformerDecoder
from mnemic_speech.token_scorer import BeamState, select_beams

VOCAB, DIM, SOS_EOS = 4, 8, 3
LENGTHS = torch.tensor([4, 2, 3])
EVERYTHING = BeamSearchConfig(beam=300, num_best=300, max_ctc_ratio=0.0)


@dataclass(frozen=True)
class LastToken(BeamState):
    last: Tensor

    def reorder(self, parents: Tensor) -> "LastToken":
        return LastToken(select_beams(self.last, parents))


class Bigrams:
    """A language model of a table, which counts its steps."""

    def __init__(self, table: Tensor) -> None:
        self.table, self.steps = table.log_softmax(-1), 0

    def init_state(self, batch: int, beam: int) -> LastToken:
        return LastToken(torch.zeros(batch, beam, dtype=torch.long))

    def step(self, tokens: Tensor, state: LastToken) -> tuple[Tensor, LastToken]:
        self.steps += 1
        return self.table[tokens], LastToken(tokens)


@pytest.fixture
def decoder() -> TransformerDecoder:
    torch.manual_seed(1)
    return TransformerDecoder(VOCAB, DIM, num_heads=2, ffn_dim=12, num_layers=1).eval().requires_grad_(False)


@pytest.fixture
def utterances() -> tuple[Tensor, Tensor, Tensor]:
    """Return hidden frames, their padding and the log-probabilities of CTC."""
    torch.manual_seed(0)
    padding = torch.arange(4) >= LENGTHS[:, None]
    return torch.randn(3, 4, DIM), padding, torch.randn(3, 4, VOCAB).log_softmax(-1)


def all_texts(longest: int) -> list[list[int]]:
    return [list(text) for length in range(longest + 1) for text in product((1, 2), repeat=length)]


def attention_log_prob(decoder: TransformerDecoder, hidden: Tensor, text: list[int]) -> float:
    padding = torch.zeros(1, len(hidden), dtype=torch.bool)
    log_probs = decoder(torch.tensor([[SOS_EOS, *text]]), hidden[None], padding)[0].log_softmax(-1)
    return float(sum(log_probs[i, token] for i, token in enumerate([*text, SOS_EOS])))


def ctc_log_prob(log_probs: Tensor, text: list[int]) -> float:
    lengths = torch.tensor([len(log_probs)]), torch.tensor([len(text)])
    return -float(F.ctc_loss(log_probs[:, None], torch.tensor([text]), *lengths, reduction="sum"))


def lm_log_prob(model: Bigrams, text: list[int]) -> float:
    return sum(float(model.table[a, b]) for a, b in zip([SOS_EOS, *text], [*text, SOS_EOS], strict=True))


@pytest.mark.parametrize("ctc_weight", [0.0, 0.3, 1.0])
def test_a_beam_wide_enough_finds_all_texts_in_their_order(
    decoder: TransformerDecoder, utterances: tuple[Tensor, Tensor, Tensor], ctc_weight: float
) -> None:
    hidden, _, log_probs = utterances
    model, config = Bigrams(torch.randn(VOCAB, VOCAB)), replace(EVERYTHING, ctc_weight=ctc_weight, lm_weight=0.5)
    results = beam_search(decoder, *utterances, config, sos_eos=SOS_EOS, language_model=model)
    for row, length in enumerate(LENGTHS.tolist()):
        expected = {}
        for text in all_texts(length):
            score = 0.5 * lm_log_prob(model, text)
            if ctc_weight < 1:
                score += (1 - ctc_weight) * attention_log_prob(decoder, hidden[row, :length], text)
            if ctc_weight > 0:
                score += ctc_weight * ctc_log_prob(log_probs[row, :length], text)
            expected[tuple(text)] = score
        found = {tuple(hypothesis.tokens): hypothesis.score for hypothesis in results[row]}
        ranked = sorted((text for text in expected if expected[text] > -torch.inf), key=expected.__getitem__)[::-1]
        assert list(found) == ranked
        assert_close(torch.tensor([found[text] for text in ranked]), torch.tensor([expected[text] for text in ranked]))


def test_a_narrow_beam_equals_a_search_hypothesis_by_hypothesis(
    decoder: TransformerDecoder, utterances: tuple[Tensor, Tensor, Tensor]
) -> None:
    for beam in (1, 2, 3):
        config = BeamSearchConfig(beam=beam, ctc_weight=0.0, max_length_ratio=2.0)
        results = beam_search(decoder, *utterances, config, sos_eos=SOS_EOS)
        for row, length in enumerate(LENGTHS.tolist()):
            text, score = naive_search(decoder, utterances[0][row, :length], beam, longest=2 * length)
            assert results[row][0].tokens == text
            assert results[row][0].score == pytest.approx(score, abs=1e-4)


def naive_search(decoder: TransformerDecoder, hidden: Tensor, beam: int, longest: int) -> tuple[list[int], float]:
    padding, running, ended = torch.zeros(1, len(hidden), dtype=torch.bool), [([], 0.0)], []
    for length in range(longest + 1):
        grown = []
        for text, score in running:
            log_probs = decoder(torch.tensor([[SOS_EOS, *text]]), hidden[None], padding)[0, -1].log_softmax(-1)
            allowed = (SOS_EOS,) if length == longest else (1, 2, SOS_EOS)
            grown += [([*text, token], score + float(log_probs[token])) for token in allowed]
        best = sorted(grown, key=lambda pair: pair[1], reverse=True)[:beam]
        ended += [(text[:-1], score) for text, score in best if text[-1] == SOS_EOS]
        running = [pair for pair in best if pair[0][-1] != SOS_EOS]
    return max(ended, key=lambda pair: pair[1])


def test_parts_of_the_score_are_those_of_the_text(
    decoder: TransformerDecoder, utterances: tuple[Tensor, Tensor, Tensor]
) -> None:
    hidden, _, log_probs = utterances
    config = BeamSearchConfig(beam=3, num_best=3, length_penalty=0.2)
    for hypothesis in beam_search(decoder, *utterances, config, sos_eos=SOS_EOS)[0]:
        attention = attention_log_prob(decoder, hidden[0], hypothesis.tokens)
        ctc = ctc_log_prob(log_probs[0], hypothesis.tokens)
        assert hypothesis.attention_score == pytest.approx(attention, abs=1e-4)
        assert hypothesis.ctc_score == pytest.approx(ctc, abs=1e-4)
        expected = 0.7 * attention + 0.3 * ctc + 0.2 * (len(hypothesis.tokens) + 1)
        assert hypothesis.score == pytest.approx(expected, abs=1e-4)


def test_a_batch_finds_what_each_utterance_finds_alone(
    decoder: TransformerDecoder, utterances: tuple[Tensor, Tensor, Tensor]
) -> None:
    hidden, padding, log_probs = utterances
    config = BeamSearchConfig(beam=4, num_best=2)
    corrupted = (
        hidden.masked_fill(padding[..., None], torch.nan),
        padding,
        log_probs.masked_fill(padding[..., None], 7.0),
    )
    together = beam_search(decoder, *corrupted, config, sos_eos=SOS_EOS)
    for row, length in enumerate(LENGTHS.tolist()):
        one = (slice(row, row + 1), slice(length))
        alone = beam_search(decoder, hidden[one], padding[one], log_probs[one], config, sos_eos=SOS_EOS)[0]
        assert_same(together[row], alone)


def assert_same(found: list[Hypothesis], expected: list[Hypothesis]) -> None:
    assert [hypothesis.tokens for hypothesis in found] == [hypothesis.tokens for hypothesis in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-4)


def test_the_best_is_the_same_however_many_are_asked_for(
    decoder: TransformerDecoder, utterances: tuple[Tensor, Tensor, Tensor]
) -> None:
    many = beam_search(decoder, *utterances, BeamSearchConfig(beam=4, num_best=4), sos_eos=SOS_EOS)
    one = beam_search(decoder, *utterances, BeamSearchConfig(beam=4), sos_eos=SOS_EOS)
    for found, single in zip(many, one, strict=True):
        assert_same(found[:1], single)


def talkative(decoder: TransformerDecoder) -> TransformerDecoder:
    """Make a decoder say the token 1 without end."""
    torch.nn.init.zeros_(decoder.output.weight)
    decoder.output.bias.data = torch.tensor([0.0, 20.0, 0.0, -20.0])
    return decoder


def test_a_decoder_that_repeats_itself_stops_after_what_ctc_hears(decoder: TransformerDecoder) -> None:
    hidden, padding = torch.zeros(2, 20, DIM), torch.zeros(2, 20, dtype=torch.bool)
    path = torch.zeros(2, 20, dtype=torch.long)
    path[1, [5, 10, 15]] = 2
    log_probs = (20.0 * F.one_hot(path, VOCAB)).log_softmax(-1)
    config = BeamSearchConfig(beam=2, ctc_weight=0.0)
    texts = [
        found[0].tokens for found in beam_search(talkative(decoder), hidden, padding, log_probs, config, sos_eos=3)
    ]
    assert texts == [2 * [1], 8 * [1]]
    unlimited = replace(config, max_ctc_ratio=0.0)
    assert beam_search(decoder, hidden, padding, log_probs, unlimited, sos_eos=3)[0][0].tokens == 20 * [1]
    assert beam_search(decoder, hidden, padding, None, config, sos_eos=3)[0][0].tokens == 20 * [1]


def test_length_ratios_bound_the_text(decoder: TransformerDecoder, utterances: tuple[Tensor, Tensor, Tensor]) -> None:
    config = BeamSearchConfig(beam=2, max_ctc_ratio=0.0)
    exact = replace(config, min_length_ratio=0.5, max_length_ratio=0.5)
    found = beam_search(decoder, *utterances, exact, sos_eos=SOS_EOS)
    assert [len(texts[0].tokens) for texts in found] == [2, 1, 1]
    longer = replace(config, ctc_weight=0.0, max_length_ratio=5.0)
    assert len(beam_search(talkative(decoder), *utterances, longer, sos_eos=SOS_EOS)[0][0].tokens) == 20


def test_silence_and_an_utterance_of_padding_give_an_empty_text(decoder: TransformerDecoder) -> None:
    padding = torch.tensor([[False] * 5, [True] * 5])
    log_probs = torch.tensor([0.0, -50.0, -50.0, -50.0]).expand(2, 5, VOCAB)
    for ctc_weight in (0.9, 1.0):
        config = BeamSearchConfig(beam=3, ctc_weight=ctc_weight)
        found = beam_search(decoder, torch.zeros(2, 5, DIM), padding, log_probs, config, sos_eos=SOS_EOS)
        assert [texts[0].tokens for texts in found] == [[], []]


@pytest.mark.parametrize(("length_penalty", "steps"), [(0.0, 3), (5.0, 6)])
def test_the_search_ends_soon_after_a_text_that_leads(length_penalty: float, steps: int) -> None:
    path = torch.zeros(1, 60, dtype=torch.long)
    path[0, [10, 20]] = torch.tensor([1, 2])
    log_probs, model = (30.0 * F.one_hot(path, VOCAB)).log_softmax(-1), Bigrams(torch.zeros(VOCAB, VOCAB))
    config = BeamSearchConfig(ctc_weight=1.0, lm_weight=0.1, max_ctc_ratio=0.0, length_penalty=length_penalty)
    padding = torch.zeros(1, 60, dtype=torch.bool)
    options: dict[str, Any] = {"sos_eos": SOS_EOS, "language_model": model}
    (found,) = beam_search(None, torch.zeros(1, 60, DIM), padding, log_probs, config, **options)
    assert found[0].tokens == [1, 2]
    assert model.steps == steps


def test_an_early_end_does_not_cut_a_text_that_the_model_is_sure_of() -> None:
    table, end = torch.full((8, 8), -60.0), 7
    table[[end, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, end]] = 0.0
    table[[1, 2, 3, 4], end] = -30.0
    table[end, end] = -8.0  # better than the ends of the next lengths, and worse than going on
    config = BeamSearchConfig(beam=4, ctc_weight=1.0, lm_weight=10.0, max_ctc_ratio=0.0)
    frames = torch.zeros(1, 9, DIM), torch.zeros(1, 9, dtype=torch.bool), torch.zeros(1, 9, 8).log_softmax(-1)
    (found,) = beam_search(None, *frames, config, sos_eos=end, language_model=Bigrams(table))
    assert found[0].tokens == [1, 2, 3, 4, 5]


def test_rescoring_the_texts_of_ctc_gives_the_joint_score(
    decoder: TransformerDecoder, utterances: tuple[Tensor, Tensor, Tensor]
) -> None:
    hidden, padding, _ = utterances
    by_ctc = beam_search(None, *utterances, replace(EVERYTHING, ctc_weight=1.0), sos_eos=SOS_EOS)
    rescored = attention_rescore(decoder, hidden, padding, by_ctc, 0.3, sos_eos=SOS_EOS)
    joint = beam_search(decoder, *utterances, EVERYTHING, sos_eos=SOS_EOS)
    for found, expected in zip(rescored, joint, strict=True):
        assert_same(found, expected)


def test_the_capacity_for_tokens_grows_with_the_text(decoder: TransformerDecoder) -> None:
    hidden, padding = torch.zeros(1, 66, DIM), torch.zeros(1, 66, dtype=torch.bool)
    config = BeamSearchConfig(beam=1, ctc_weight=0.0)
    found = beam_search(talkative(decoder), hidden, padding, None, config, sos_eos=SOS_EOS)
    assert found[0][0].tokens == 66 * [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beam": 2, "num_best": 3}, "num_best must be between 1 and 2, got 3"),
        ({"ctc_weight": 1.5}, "ctc_weight must be between 0 and 1, got 1.5"),
        ({"lm_weight": -1.0}, "lm_weight must be at least 0, got -1.0"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BeamSearchConfig(**change)


def test_missing_parts_and_corrupted_frames_are_refused(
    decoder: TransformerDecoder, utterances: tuple[Tensor, Tensor, Tensor]
) -> None:
    hidden, padding, log_probs = utterances
    config = BeamSearchConfig()
    with pytest.raises(ValueError, match="needs an attention decoder"):
        beam_search(None, hidden, padding, log_probs, config, sos_eos=SOS_EOS)
    with pytest.raises(ValueError, match="needs ctc_log_probs"):
        beam_search(decoder, hidden, padding, None, config, sos_eos=SOS_EOS)
    with pytest.raises(ValueError, match="none was given as language_model"):
        beam_search(decoder, hidden, padding, log_probs, replace(config, lm_weight=1.0), sos_eos=SOS_EOS)
    with pytest.raises(ValueError, match="hidden has no frame"):
        beam_search(decoder, hidden[:, :0], padding[:, :0], log_probs[:, :0], config, sos_eos=SOS_EOS)
    with pytest.raises(ValueError, match="hidden has NaN"):
        beam_search(decoder, hidden * torch.nan, padding, log_probs, config, sos_eos=SOS_EOS)
    with pytest.raises(ValueError, match="apply log_softmax"):
        beam_search(decoder, hidden, padding, log_probs + 5, config, sos_eos=SOS_EOS)


def test_a_decoder_that_computes_nan_is_an_error(
    decoder: TransformerDecoder, utterances: tuple[Tensor, Tensor, Tensor]
) -> None:
    torch.nn.init.constant_(decoder.output.bias, torch.nan)
    with pytest.raises(ValueError, match="gave NaN"):
        beam_search(decoder, *utterances, BeamSearchConfig(), sos_eos=SOS_EOS)
