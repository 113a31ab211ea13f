from copy import deepcopy
from pathlib import Path

import pytest
import torch
from damaged_files import check_refusals
from torch.testing import assert_close

from mnemic_core import MemoryConfig, TransformerConfig
from mnemic_lm.generation import Sampling, TextSession
from mnemic_lm.model import LanguageModel, LanguageModelConfig
from mnemic_lm.tokens import ByteCodec

LENGTH = 4
OPTIONS = {"window": {}, "memory_tokens": {"num_tokens": 2, "initial_std": 1.0}}


@pytest.fixture(params=OPTIONS)
def model(request: pytest.FixtureRequest) -> LanguageModel:
    torch.manual_seed(0)
    sizes = {"dim": 16, "num_layers": 1, "num_heads": 2, "ffn_dim": 16}
    transformer = TransformerConfig(**sizes, memory=MemoryConfig(request.param, OPTIONS[request.param]))
    return LanguageModel(LanguageModelConfig(transformer, 257)).eval()


@torch.no_grad()
def test_each_prediction_is_the_one_that_scoring_the_text_would_give(model: LanguageModel) -> None:
    text = torch.randint(256, (11,))
    state, expected = model.init_state(1), []
    for ids in torch.cat([torch.tensor([256]), text]).split(LENGTH):
        logits, state = model(ids[None], state)
        expected.append(logits[0, :, :-1])
    session, found = TextSession(model, LENGTH), []
    for token in text.tolist():
        found.append(session.logits())
        session.feed([token])
    assert_close(torch.stack([*found, session.logits()]), torch.cat(expected))


@pytest.mark.parametrize("first", [0, 3, 5])
def test_two_sessions_write_what_one_would(model: LanguageModel, tmp_path: Path, first: int) -> None:
    sampling = Sampling(temperature=1.0, seed=3)
    whole = list(TextSession(model, LENGTH).write(10, sampling))
    session = TextSession(model, LENGTH)
    begun = list(session.write(first, sampling))
    session.save(tmp_path / "session")
    again = TextSession(deepcopy(model), LENGTH)
    again.load(tmp_path / "session")
    assert again.report() == session.report()
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
    TextSession(model, LENGTH).save(path)
    with pytest.raises(ValueError, match=r"text session of another model or other .*segment_length 4, here 5"):
        TextSession(model, LENGTH + 1).load(path)
    with torch.no_grad():
        model.embedding.weight[0, 0] += 1
    with pytest.raises(ValueError, match=r"text session of another model or other settings \(weights "):
        TextSession(model, LENGTH).load(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="is truncated or not a checkpoint"):
        TextSession(model, LENGTH).load(path)
    model.init_state(1).save(path)
    with pytest.raises(ValueError, match="is of kind None, expected a text session"):
        TextSession(model, LENGTH).load(path)


def test_damaged_sessions_are_refused_in_one_line(model: LanguageModel, tmp_path: Path) -> None:
    TextSession(model, LENGTH).save(tmp_path / "session")
    (tmp_path / "damaged").mkdir()
    check_refusals(TextSession(model, LENGTH).load, tmp_path / "session", tmp_path / "damaged", count=20)


@pytest.mark.parametrize("cut", range(7))
def test_text_cut_anywhere_equals_text_written_at_once(
    model: LanguageModel, tmp_path: Path, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "aě語\N{GRINNING FACE}".encode()  # characters of one to four bytes
    monkeypatch.setattr(Sampling, "draw", lambda self, logits, place: content[place - 1])
    begun, again = TextSession(model, LENGTH), TextSession(model, LENGTH, ByteCodec())
    written = begun.prompt("?") + "".join(begun.text(cut, Sampling()))
    begun.save(tmp_path / "session")
    again.load(tmp_path / "session")
    written += again.prompt("") + "".join(again.text(len(content) - cut, Sampling())) + again.finish()
    assert written == content.decode()


def test_a_prompt_ends_what_was_held_back(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    session = TextSession(model, LENGTH)
    monkeypatch.setattr(Sampling, "draw", lambda self, logits, place: 0xC3)
    assert "".join(session.text(1, Sampling())) == ""
    assert session.prompt("so") == "\N{REPLACEMENT CHARACTER}"
    assert session.finish() == ""
