import torch

from mnemic_core.testing.comparison import assert_close
from mnemic_retrieval.t5 import T5, T5Config

CONFIG = T5Config(
    vocab_size=30, dim=16, num_heads=2, head_dim=6, ffn_dim=24, encoder_layers=2, decoder_layers=2, dropout=0.0
)


def small() -> T5:
    torch.manual_seed(0)
    return T5(CONFIG).eval()


def test_padding_changes_nothing() -> None:
    model, outputs = small(), torch.tensor([[0, 4, 5]])
    alone = model(torch.tensor([[7, 8, 1]]), outputs)
    padded = model(torch.tensor([[7, 8, 1, 0, 0, 0]]), outputs)
    assert_close(padded, alone, tolerance=1e-6)


def test_tokens_do_not_see_later_ones() -> None:
    model, tokens = small(), torch.tensor([[7, 8, 1]])
    first, second = model(tokens, torch.tensor([[0, 4, 5, 6]])), model(tokens, torch.tensor([[0, 4, 9, 2]]))
    assert_close(first[:, :2], second[:, :2], tolerance=1e-6)
    assert not torch.allclose(first[:, 2:], second[:, 2:])


def test_steps_equal_the_complete_output() -> None:
    model, outputs = small(), torch.tensor([[0, 4, 5, 6], [0, 9, 2, 2]])
    encoded, padding = model.encode(torch.tensor([[7, 8, 1], [3, 1, 0]]))
    complete = model.decoder(model.tokens(outputs), encoded, padding)
    state = model.decoder.init_state(model.decoder.attend_to(encoded, padding), max_tokens=5)
    for place in range(outputs.shape[1]):
        hidden, state = model.decoder.step(model.tokens(outputs[:, place : place + 1])[:, 0], state)
        assert_close(hidden, complete[:, place], tolerance=1e-5)


def test_a_batch_gives_what_each_row_gives_alone() -> None:
    model, tokens = small(), torch.tensor([[7, 8, 9, 1], [3, 1, 0, 0]])
    together = model.generate(tokens, 6)
    for row, some in enumerate(([7, 8, 9, 1], [3, 1])):
        alone = model.generate(torch.tensor([some]), 6)[0]
        assert together[row, : len(alone)].tolist() == alone.tolist()
        assert not together[row, len(alone) :].any()


def test_the_state_of_an_output_is_not_changed_by_a_step() -> None:
    model = small()
    encoded, padding = model.encode(torch.tensor([[7, 8, 1]]))
    state = model.decoder.init_state(model.decoder.attend_to(encoded, padding), max_tokens=3)
    before = state.clone()
    model.decoder.step(model.tokens(torch.tensor([[4]]))[:, 0], state)
    for name, tensor in state.tensors().items():
        assert torch.equal(tensor, before.tensors()[name])
