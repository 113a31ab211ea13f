from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from mnemic_core import MemoryConfig, TransformerConfig
from mnemic_lm.generation import Sampling, Session
from mnemic_lm.model import LanguageModel

LENGTH = 4
OPTIONS = {"window": {}, "memory_tokens": {"num_tokens": 2, "initial_std": 1.0}}


@pytest.fixture(params=OPTIONS)
def model(request: pytest.FixtureRequest) -> LanguageModel:
    torch.manual_seed(0)
    sizes = {"dim": 16, "num_layers": 1, "num_heads": 2, "ffn_dim": 16}
    return LanguageModel(
        TransformerConfig(**sizes, memory=MemoryConfig(request.param, OPTIONS[request.param])), 257
    ).eval()


@torch.no_grad()
def test_each_prediction_is_the_one_that_scoring_the_text_would_give(model: LanguageModel) -> None:
    text = torch.randint(256, (11,))
    state, expected = model.init_state(1), []
    for ids in torch.cat([torch.tensor([256]), text]).split(LENGTH):
        logits, state = model(ids[None], state)
        expected.append(logits[0, :, :-1])
    session, found = Session(model, LENGTH), []
    for token in text.tolist():
        found.append(session.logits())
        session.feed([token])
    assert_close(torch.stack([*found, session.logits()]), torch.cat(expected))


@pytest.mark.parametrize("first", [0, 3, 5])
def test_two_sessions_write_what_one_would(model: LanguageModel, tmp_path: Path, first: int) -> None:
    sampling = Sampling(temperature=1.0, seed=3)
    whole = list(Session(model, LENGTH).write(10, sampling))
    session = Session(model, LENGTH)
    begun = list(session.write(first, sampling))
    session.save(tmp_path / "session")
    again = Session.load(tmp_path / "session", model, LENGTH)
    assert begun + list(again.write(10 - first, sampling)) == whole


def test_sampling_keeps_to_its_rules() -> None:
    logits = torch.tensor([0.0, 2.0, 1.0, -1.0])
    assert Sampling(temperature=0.0).draw(logits, 0) == 1
    assert {Sampling(temperature=5.0, top_k=2).draw(logits, place) for place in range(40)} == {1, 2}
    draws = [Sampling(seed=1).draw(torch.zeros(9), place) for place in range(9)]
    assert draws == [Sampling(seed=1).draw(torch.zeros(9), place) for place in range(9)]
    assert draws != [Sampling(seed=2).draw(torch.zeros(9), place) for place in range(9)]


def test_sampling_without_meaning_is_refused() -> None:
    with pytest.raises(ValueError, match=r"temperature must be at least 0, got -1\.0"):
        Sampling(temperature=-1.0)
    with pytest.raises(ValueError, match="top_k must be at least 0"):
        Sampling(top_k=-1)


def test_a_session_of_other_weights_or_a_damaged_one_is_refused(model: LanguageModel, tmp_path: Path) -> None:
    path = tmp_path / "session"
    Session(model, LENGTH).save(path)
    with pytest.raises(ValueError, match="session of another checkpoint"):
        Session.load(path, model, LENGTH + 1)
    with torch.no_grad():
        model.embedding.weight[0, 0] += 1
    with pytest.raises(ValueError, match="session of another checkpoint"):
        Session.load(path, model, LENGTH)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="no complete session"):
        Session.load(path, model, LENGTH)
    model.init_state(1).save(path)
    with pytest.raises(ValueError, match="no session of mnemic-lm"):
        Session.load(path, model, LENGTH)
