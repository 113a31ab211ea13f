import math

import pytest
import torch

from mnemic_core import MemoryConfig, TransformerConfig
from mnemic_lm.model import LanguageModel, LanguageModelConfig
from mnemic_lm.scoring import Tally, score
from mnemic_lm.text import Corpus

SIZES = {"dim": 16, "num_layers": 1, "num_heads": 2, "ffn_dim": 16}


@pytest.fixture
def corpus() -> Corpus:
    torch.manual_seed(0)
    return Corpus((torch.randint(256, (50,)), torch.randint(256, (30,))), 256, 80)


@pytest.fixture
def model() -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(LanguageModelConfig(TransformerConfig(**SIZES, memory=MemoryConfig("window")), 257)).eval()


def naive_bits(model: LanguageModel, corpus: Corpus, segment_length: int, *, carry: bool) -> float:
    """Score one stream segment by segment, as plainly as can be."""
    nats = 0.0
    for document in corpus.documents:
        state = model.init_state(1)
        inputs = torch.cat([torch.tensor([256]), document[:-1]])
        for ids, targets in zip(inputs.split(segment_length), document.split(segment_length), strict=True):
            logits, after = model(ids[None], state)
            nats -= float(logits.log_softmax(-1)[0, torch.arange(len(ids)), targets].sum())
            state = after if carry else state
    return nats / math.log(2) / corpus.num_bytes


@torch.no_grad()
def test_bits_per_byte_are_those_of_a_plain_loop(model: LanguageModel, corpus: Corpus) -> None:
    carried, fresh = (naive_bits(model, corpus, 8, carry=carry) for carry in (True, False))
    assert score(model, corpus, 8, batch_size=1) == pytest.approx(carried)
    assert score(model, corpus, 8, batch_size=1, context=8) == pytest.approx(fresh)
    assert carried != pytest.approx(fresh)


def test_a_context_that_holds_the_whole_text_is_no_limit(model: LanguageModel, corpus: Corpus) -> None:
    unlimited = score(model, corpus, 8, batch_size=2)
    assert score(model, corpus, 8, batch_size=2, context=800) == pytest.approx(unlimited)
    assert score(model, corpus, 8, batch_size=2, context=16) != pytest.approx(unlimited)


def test_a_context_below_the_segment_makes_shorter_segments(model: LanguageModel, corpus: Corpus) -> None:
    short = score(model, corpus, 8, batch_size=2, context=4)
    assert short == pytest.approx(score(model, corpus, 4, batch_size=2, context=4))


def test_a_memory_of_another_stream_changes_the_score_and_none_cannot_be_exchanged(
    model: LanguageModel, corpus: Corpus
) -> None:
    assert score(model, corpus, 8, is_shuffled=True) != pytest.approx(score(model, corpus, 8))
    plain = LanguageModel(LanguageModelConfig(TransformerConfig(**SIZES), 257)).eval()
    assert score(plain, corpus, 8, is_shuffled=True) == pytest.approx(score(plain, corpus, 8))


def test_what_cannot_be_scored_is_refused(model: LanguageModel, corpus: Corpus) -> None:
    with pytest.raises(ValueError, match="multiple of the segment of 8 tokens, got 12"):
        score(model, corpus, 8, context=12)
    with pytest.raises(ValueError, match="at least 2 streams"):
        score(model, corpus, 8, batch_size=1, is_shuffled=True)


def test_a_token_of_several_bytes_shares_its_bits_among_them() -> None:
    assert Tally(nats=10 * math.log(2), tokens=5).bits_per_byte(bytes_per_token=4.0) == pytest.approx(0.5)
    assert math.isnan(Tally().nats_per_token)
