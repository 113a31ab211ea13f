from dataclasses import replace

import pytest
import torch

from mnemic_core.errors import UserError
from mnemic_core.stores import RetrievedSlots
from mnemic_core.testing.comparison import assert_close
from mnemic_retrieval.emat import (
    Emat,
    EmatConfig,
    autoencoding_loss,
    emat_async,
    emat_serial,
    matching_loss,
)
from mnemic_retrieval.emat.config import InsertedBias, KeyHead
from mnemic_retrieval.t5 import T5Config
from mnemic_retrieval.t5.model import IGNORED, sequence_loss, shifted

T5 = T5Config(
    vocab_size=30, dim=16, num_heads=2, head_dim=6, ffn_dim=24, encoder_layers=5, decoder_layers=2, dropout=0.0
)
SMALL = EmatConfig(T5, key_layer=1, insert_layer=1, value_layer=3, num_values=2)
QUESTIONS = torch.tensor([[7, 8, 9, 1], [3, 1, 0, 0]])
KEYS = torch.tensor([[7, 8, 2, 1], [4, 4, 1, 0], [12, 13, 14, 1]])
VALUES = torch.tensor([[20, 1], [21, 1], [22, 1]])
OUTPUTS = torch.tensor([[0, 20], [0, 21]])


def build(config: EmatConfig = SMALL) -> Emat:
    torch.manual_seed(0)
    model = Emat(config).eval()
    if model.encoder.memory_bias is not None:
        torch.nn.init.normal_(model.encoder.memory_bias)
    return model


def retrieve(model: Emat, items: list[list[int]], allowed: list[list[bool]] | None = None) -> RetrievedSlots:
    chosen = torch.tensor(items)
    mask = torch.ones_like(chosen, dtype=torch.bool) if allowed is None else torch.tensor(allowed)
    return RetrievedSlots(model.encode_keys(KEYS)[chosen], model.encode_values(VALUES)[chosen], mask)


@pytest.mark.parametrize("head", ["conv", "linear", "prefix"])
@pytest.mark.parametrize("insert", [1, 2])
@pytest.mark.parametrize("bias", ["recompute", "zero"])
def test_padding_changes_nothing(head: KeyHead, insert: int, bias: InsertedBias) -> None:
    model = build(replace(SMALL, key_head=head, insert_layer=insert, bias_after_insertion=bias))
    memory, wider = retrieve(model, [[0, 1], [2, 0]]), torch.cat([QUESTIONS, torch.zeros(2, 3, dtype=torch.long)], 1)
    narrow, wide = model.ask(QUESTIONS), model.ask(wider)
    assert_close(wide.vector, narrow.vector, tolerance=1e-6)
    assert_close(model(wide, memory, OUTPUTS), model(narrow, memory, OUTPUTS), tolerance=1e-5)
    padded_keys = torch.cat([KEYS, torch.zeros(3, 2, dtype=torch.long)], 1)
    assert_close(model.encode_keys(padded_keys), model.encode_keys(KEYS), tolerance=1e-6)


def test_items_that_are_not_allowed_change_nothing_and_others_do() -> None:
    model = build()
    question = model.ask(QUESTIONS)
    first = model(question, retrieve(model, [[0, 1], [2, 0]], [[True, False], [True, False]]), OUTPUTS)
    other = model(question, retrieve(model, [[0, 2], [2, 1]], [[True, False], [True, False]]), OUTPUTS)
    seen = model(question, retrieve(model, [[0, 2], [2, 1]]), OUTPUTS)
    assert_close(first, other, tolerance=1e-6)
    assert (first - seen).abs().max() > 1e-3


@pytest.mark.parametrize("bias", ["recompute", "zero"])
def test_the_order_of_items_does_not_matter(bias: InsertedBias) -> None:
    """They have no positions among each other."""
    model = build(replace(SMALL, bias_after_insertion=bias))
    question = model.ask(QUESTIONS)
    one, two = (model(question, retrieve(model, items), OUTPUTS) for items in ([[0, 1], [2, 0]], [[1, 0], [0, 2]]))
    assert_close(one, two, tolerance=1e-5)


def test_the_layers_before_the_insertion_may_run_while_the_memory_is_searched() -> None:
    model = build(replace(SMALL, insert_layer=2))
    memory, question = retrieve(model, [[0, 1], [2, 0]]), model.ask(QUESTIONS)
    ahead = model.encoder.advance(question)
    assert ahead.next_layer == 3
    assert torch.equal(model(ahead, memory, OUTPUTS), model(question, memory, OUTPUTS))


def test_keys_and_values_may_have_an_encoder_of_their_own() -> None:
    model, shared = build(replace(SMALL, has_own_memory_encoder=True)), build()
    assert model.own_memory_encoder is model.memory_encoder
    assert not torch.allclose(model.encode_keys(KEYS), model.encoder.keys(model.tokens(KEYS), KEYS == 0))
    assert_close(shared.encode_keys(KEYS), shared.encoder.keys(shared.tokens(KEYS), KEYS == 0), tolerance=0.0)


def test_every_weight_learns() -> None:
    model = build(replace(SMALL, has_own_memory_encoder=True, insert_layer=2, search_dim=8)).train()
    labels, question = torch.tensor([[20, 1], [21, IGNORED]]), model.ask(QUESTIONS)
    key_slots = model.encode_keys(KEYS)
    loss = sequence_loss(model(question, retrieve(model, [[0, 1], [2, 0]]), shifted(labels, 0)), labels)
    loss = (
        loss + autoencoding_loss(model, key_slots, KEYS) + autoencoding_loss(model, model.encode_values(VALUES), VALUES)
    )
    (loss + matching_loss(question.vector, model.search_vectors(key_slots), torch.tensor([0, 2]))).backward()
    own = "own_memory_encoder.{}".format
    unused = {own("memory_bias"), own("stack.norm.weight")}
    unused |= {own(f"stack.blocks.4.{name}") for name, _ in model.encoder.stack.blocks[4].named_parameters()}
    without = {name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()}
    assert without == unused


def test_matching_ignores_questions_without_a_key_and_keys_that_are_not_allowed() -> None:
    queries, keys = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    alone = matching_loss(queries[:1], keys, torch.tensor([0]))
    assert_close(matching_loss(queries, keys, torch.tensor([0, IGNORED])), alone, tolerance=1e-6)
    expected = -torch.log(torch.exp(torch.tensor(2.0)) / (torch.exp(torch.tensor(2.0)) + 1))
    allowed = torch.tensor([[False, True, False]])
    assert_close(matching_loss(queries[:1], keys, torch.tensor([0]), allowed), expected, tolerance=1e-6)
    assert matching_loss(queries, keys, torch.full((2,), IGNORED)) == 0


def test_slots_of_another_network_are_refused() -> None:
    model = build()
    slots = torch.zeros(2, 1, 3, 16)
    with pytest.raises(UserError, match=r"2 slots of width 16, got \(3, 16\)"):
        model(model.ask(QUESTIONS), RetrievedSlots(slots, slots, torch.ones(2, 1, dtype=torch.bool)), OUTPUTS)


def test_presets_are_those_of_the_paper() -> None:
    serial, delayed = emat_serial(), emat_async()
    assert (serial.key_layer, serial.insert_layer, serial.value_layer) == (3, 3, 7)
    assert (delayed.key_layer, delayed.insert_layer, delayed.value_layer) == (3, 10, 11)


@pytest.mark.parametrize("layers", [(-1, 1, 3), (2, 1, 3), (1, 3, 2), (1, 2, 5)])
def test_layers_out_of_order_are_refused(layers: tuple[int, int, int]) -> None:
    with pytest.raises(UserError, match="0 <= key <= insert <= value <= 4"):
        EmatConfig(T5, key_layer=layers[0], insert_layer=layers[1], value_layer=layers[2])
