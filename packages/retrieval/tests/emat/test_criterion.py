import torch
from torch.testing import assert_close

from mnemic_core.stores import RetrievedSlots
from mnemic_retrieval.emat import Emat, EmatConfig, autoencoding_loss, matching_loss
from mnemic_retrieval.emat.criterion import LossWeights, emat_losses, encode_step
from mnemic_retrieval.emat.lookup import Lookup
from mnemic_retrieval.t5 import T5Config
from mnemic_retrieval.t5.model import IGNORED, sequence_loss, shifted

T5 = T5Config(20, dim=8, num_heads=2, head_dim=4, ffn_dim=8, encoder_layers=3, decoder_layers=1, dropout=0.0)
QUESTIONS, LABELS = torch.tensor([[3, 4, 1], [5, 1, 0]]), torch.tensor([[6, 1], [7, 1]])
KEYS, VALUES = torch.tensor([[3, 5, 1], [5, 6, 1], [8, 1, 0]]), torch.tensor([[6, 1], [7, 1], [9, 1]])
LOOKUP = Lookup(
    torch.tensor([[0, 2], [1, -1]]), torch.arange(3), torch.tensor([0, 1]), torch.ones(2, 3, dtype=torch.bool)
)


def model() -> Emat:
    torch.manual_seed(0)
    return Emat(EmatConfig(T5, key_layer=0, insert_layer=0, value_layer=1, num_values=2))


def test_losses_are_those_of_each_part() -> None:
    """Encoding only the values that are needed changes nothing."""
    network, weights = model(), LossWeights(0.5, 0.25, 2.0)
    found = emat_losses(network, encode_step(network, QUESTIONS, KEYS), LOOKUP, LABELS, KEYS, VALUES, weights)
    keys, values, stage = network.encode_keys(KEYS), network.encode_values(VALUES), network.ask(QUESTIONS)
    places = torch.tensor([[0, 2], [1, 0]])
    memory = RetrievedSlots(keys[places], values[places], torch.tensor([[True, True], [True, False]]))
    parts = {
        "answer": sequence_loss(network(stage, memory, shifted(LABELS, 0)), LABELS),
        "keys": autoencoding_loss(network, keys[:2], KEYS[:2].masked_fill(KEYS[:2] == 0, IGNORED)),
        "values": autoencoding_loss(network, values[:2], VALUES[:2]),
        "matching": matching_loss(stage.vector, network.search_vectors(keys), torch.tensor([0, 1])),
    }
    for name, expected in parts.items():
        assert_close(getattr(found, name), expected)
    whole = parts["answer"] + 0.5 * parts["keys"] + 0.25 * parts["values"] + 2 * parts["matching"]
    assert_close(found.total, whole)


def test_a_loss_without_weight_is_not_computed() -> None:
    network = model()
    encoded = encode_step(network, QUESTIONS, KEYS)
    found = emat_losses(network, encoded, LOOKUP, LABELS, KEYS, VALUES, LossWeights(0.0, 0.0, 0.0))
    assert_close(found.total, found.answer)
    assert [float(each) for each in (found.keys, found.values, found.matching)] == [0, 0, 0]
