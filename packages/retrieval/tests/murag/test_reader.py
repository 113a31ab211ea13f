from dataclasses import replace

import pytest
import torch

from mnemic_core.testing.comparison import assert_close
from mnemic_retrieval.murag import Encoded, Evidence, Murag, murag_tiny
from mnemic_retrieval.murag.config import ReaderForm
from mnemic_retrieval.murag.reader import evidence_of

FORMS: tuple[ReaderForm, ...] = ("fid", "fid_cached", "concat")
QUESTIONS = torch.tensor([[10, 11, 1], [12, 1, 0]])
ITEMS = torch.tensor([[20, 21, 22, 1], [23, 1, 0, 0], [24, 25, 1, 0], [26, 1, 0, 0]])


def build(form: ReaderForm) -> Murag:
    torch.manual_seed(0)
    model = Murag(replace(murag_tiny(), reader=form)).eval()
    torch.nn.init.normal_(model.reader.ranks)
    torch.nn.init.normal_(model.reader.score)
    return model


def encoded(model: Murag, tokens: torch.Tensor) -> Encoded:
    return model.encoder(model.encoder.read(tokens))


def logits(model: Murag, evidence: Evidence | None, questions: torch.Tensor = QUESTIONS) -> torch.Tensor:
    outputs = torch.tensor([[0, 30, 31]]).expand(len(questions), -1)
    return model(model.read(encoded(model, questions), evidence), outputs)


def evidence(
    model: Murag, is_found: list[list[bool]], chosen: tuple[tuple[int, int], ...] = ((0, 1), (2, 3))
) -> Evidence:
    scores = torch.tensor([[0.9, 0.5], [0.8, 0.2]])
    return evidence_of(encoded(model, ITEMS), torch.tensor(chosen), scores, torch.tensor(is_found))


BOTH = [[True, True], [True, True]]


@pytest.mark.parametrize("form", FORMS)
def test_a_question_reads_its_own_items(form: ReaderForm) -> None:
    model = build(form)
    found = logits(model, evidence(model, BOTH))
    swapped = logits(model, evidence(model, BOTH, ((0, 1), (2, 0))))
    assert_close(swapped[0], found[0], tolerance=1e-5)
    assert (swapped[1] - found[1]).abs().max() > 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_items_that_were_not_found_do_not_matter(form: ReaderForm) -> None:
    model = build(form)
    one = [[True, False], [True, True]]
    found = logits(model, evidence(model, one))
    assert_close(logits(model, evidence(model, one, ((0, 3), (2, 3))))[0], found[0], tolerance=1e-5)
    alone = evidence_of(encoded(model, ITEMS), torch.tensor([[0]]), torch.tensor([[0.9]]), torch.tensor([[True]]))
    assert_close(logits(model, alone, QUESTIONS[:1])[0], found[0], tolerance=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_without_items_the_question_is_read_alone(form: ReaderForm) -> None:
    model = build(form)
    none = logits(model, evidence(model, [[False, False]] * 2))
    assert_close(none, logits(model, None), tolerance=1e-5)
    assert (none - logits(model, evidence(model, BOTH))).abs().max() > 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_padding_of_items_and_questions_does_not_matter(form: ReaderForm) -> None:
    model = build(form)
    found = logits(model, evidence(model, BOTH))
    wider = torch.cat([QUESTIONS, torch.zeros(2, 3, dtype=torch.long)], 1)
    assert_close(logits(model, evidence(model, BOTH), wider), found, tolerance=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_rank_and_score_of_an_item_are_read(form: ReaderForm) -> None:
    model = build(form)
    given = evidence(model, BOTH)
    found = logits(model, given)
    assert (logits(model, replace(given, scores=given.scores + 1)) - found).abs().max() > 1e-3
    assert (logits(model, evidence(model, BOTH, ((1, 0), (2, 3))))[0] - found[0]).abs().max() > 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_attention_is_shared_among_what_is_there(form: ReaderForm) -> None:
    model = build(form)
    reading = model.read(encoded(model, QUESTIONS), evidence(model, [[True, False], [True, True]]))
    shares = model.attention(reading, torch.tensor([[30, 1, 0], [30, 31, 1]]))
    assert_close(shares.sum(1), torch.ones(2), tolerance=1e-5)
    assert not shares[reading.padding].any()
    assert not shares[0][reading.item[0] == 2].any()
    assert reading.place_in_item[0, reading.item[0] == 1].tolist()[:3] == [0, 1, 2]


@pytest.mark.parametrize("form", FORMS)
def test_all_parts_learn_from_an_answer(form: ReaderForm) -> None:
    model = build(form).train()
    logits(model, evidence(model, BOTH)).square().mean().backward()
    names = ("reader.ranks", "reader.score", "encoder.pool", "encoder.stack", "decoder")
    learned = {name for name, weight in model.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert all(any(name.startswith(part) for name in learned) for part in names)


def test_words_of_the_items_can_be_copied() -> None:
    torch.manual_seed(0)
    model = Murag(replace(murag_tiny(), copies=True)).eval()
    assert model.copy is not None
    given = evidence(model, [[True, False], [True, True]])
    reading = model.read(encoded(model, QUESTIONS), given)
    outputs = torch.tensor([[0, 30]] * 2)
    with torch.no_grad():
        model.copy.gate.bias.fill_(-1e4)
        plain = model(reading, outputs).exp()
        written = model.tokens.logits(model.decoder(model.tokens(outputs), reading.hidden, reading.padding))
        assert_close(plain, written.softmax(-1), tolerance=1e-6)
        model.copy.gate.bias.fill_(1e4)
        copied = model(reading, outputs).exp()
    assert_close(copied.sum(-1), torch.ones(2, 2), tolerance=1e-5)
    words = {*QUESTIONS[0].tolist(), *ITEMS[0].tolist()} - {0, 1}  # its second item was not found
    assert {*(copied[0, 0] > 1e-6).nonzero().flatten().tolist()} == words
    model.copy.gate.bias.data.fill_(1e4)
    assert {*model.answer(reading, 3)[0].tolist()} <= words
    assert torch.isfinite(model(model.read(encoded(model, torch.zeros(1, 1, dtype=torch.long))), outputs[:1])).all()
