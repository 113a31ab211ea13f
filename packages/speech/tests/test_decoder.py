from pathlib import Path

import pytest
import torch
from golden_files import GoldenCase, golden_cases
from torch import Tensor
from torch.testing import assert_close

from mnemic_speech.conformer_ntm.weights import convert_official
from mnemic_speech.decoder import TransformerDecoder, sinusoidal_positions

GOLDEN = golden_cases("speech", Path(__file__).parent / "golden" / "speech", prefix="h_")
VOCAB, DIM, SOS_EOS = 7, 8, 6
LENGTHS = torch.tensor([5, 3])


@pytest.fixture
def decoder() -> TransformerDecoder:
    torch.manual_seed(0)
    return TransformerDecoder(VOCAB, DIM, num_heads=2, ffn_dim=12, num_layers=2).eval()


@pytest.fixture
def hidden() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(2, 5, DIM)


@pytest.fixture
def padding() -> Tensor:
    return torch.arange(5) >= LENGTHS[:, None]


@pytest.fixture
def tokens() -> Tensor:
    return torch.tensor([[SOS_EOS, 1, 2, 3], [SOS_EOS, 4, 4, 1]])


@pytest.mark.golden
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in GOLDEN])
def test_official_parameters_give_the_official_logits(case: GoldenCase) -> None:
    decoder, (inputs, padding, token_padding) = official_decoder(case), official_inputs(case)
    logits = decoder(inputs, case.outputs["ntm_out"], padding, token_padding)
    case.assert_output("decoder_logits", logits)
    unmasked = decoder(inputs, case.outputs["ntm_out"], padding)
    assert_close(unmasked[~token_padding], logits[~token_padding])


def official_decoder(case: GoldenCase) -> TransformerDecoder:
    config = case.config
    decoder = TransformerDecoder(config["vocab"], config["dim"], config["heads"], config["ff"], config["blocks"])
    prefix = "decoder."
    weights = convert_official({name: value for name, value in case.state.items() if name.startswith(prefix)})
    decoder.load_state_dict({name.removeprefix(prefix): value for name, value in weights.items()})
    return decoder.eval()


def official_inputs(case: GoldenCase) -> tuple[Tensor, Tensor, Tensor]:
    inputs = case.outputs["ys_in"]
    frames = torch.arange(case.outputs["ntm_out"].shape[1])
    padding = frames >= case.outputs["encoder_out_lens"][:, None]
    return inputs, padding, torch.arange(inputs.shape[1]) > case.inputs["text_lengths"][:, None]


def test_steps_equal_the_parallel_decoder(
    decoder: TransformerDecoder, hidden: Tensor, padding: Tensor, tokens: Tensor
) -> None:
    state = decoder.init_state(hidden, padding, max_length=4)
    stepped = []
    for place in range(4):
        log_probs, state = decoder.step(tokens[:, place : place + 1], state)
        stepped.append(log_probs)
    assert_close(torch.cat(stepped, 1), decoder(tokens, hidden, padding).log_softmax(-1))


def test_reordered_beams_go_on_as_their_parents(decoder: TransformerDecoder, hidden: Tensor, padding: Tensor) -> None:
    state = decoder.init_state(hidden, padding, max_length=3, beam=3)
    first = torch.tensor([[1, 2, 3], [4, 5, 0]])
    _, state = decoder.step(first, decoder.step(torch.full((2, 3), SOS_EOS), state)[1])
    parents, last = torch.tensor([[2, 0, 2], [1, 1, 0]]), torch.tensor([[1, 1, 2], [3, 4, 5]])
    log_probs, _ = decoder.step(last, state.reorder(parents))
    for row in range(2):
        for beam in range(3):
            text = torch.tensor([[SOS_EOS, first[row, parents[row, beam]], last[row, beam]]])
            alone = decoder(text, hidden[row : row + 1], padding[row : row + 1])[0, -1].log_softmax(-1)
            assert_close(log_probs[row, beam], alone)


def test_capacity_and_batch_size_do_not_change_scores(
    decoder: TransformerDecoder, hidden: Tensor, padding: Tensor, tokens: Tensor
) -> None:
    _, state = decoder.step(tokens[:, :1], decoder.init_state(hidden, padding, max_length=1))
    log_probs, after = decoder.step(tokens[:, 1:2], state.reserve(2))
    alone, _ = decoder.step(tokens[1:, 1:2], state.reserve(5).index_select(torch.tensor([1])))
    assert after.keys.shape[-2] == 2
    assert state.reserve(1) is state
    assert_close(alone, log_probs[1:])


def test_a_step_leaves_the_given_state_alone(
    decoder: TransformerDecoder, hidden: Tensor, padding: Tensor, tokens: Tensor
) -> None:
    state = decoder.init_state(hidden, padding, max_length=2)
    before = state.clone()
    decoder.step(tokens[:, :1], state)
    for name, tensor in state.tensors().items():
        assert_close(tensor, before.tensors()[name])


def test_padded_frames_do_not_matter_even_if_nan(
    decoder: TransformerDecoder, hidden: Tensor, padding: Tensor, tokens: Tensor
) -> None:
    corrupted = hidden.masked_fill(padding[..., None], torch.nan)
    assert_close(decoder(tokens, corrupted, padding)[1:], decoder(tokens[1:], hidden[1:, :3], padding[1:, :3]))


def test_an_utterance_without_frames_stays_finite(decoder: TransformerDecoder, hidden: Tensor, tokens: Tensor) -> None:
    everything = torch.ones(2, 5, dtype=torch.bool)
    assert decoder(tokens, hidden, everything).isfinite().all()


def test_a_token_does_not_see_those_after_it(
    decoder: TransformerDecoder, hidden: Tensor, padding: Tensor, tokens: Tensor
) -> None:
    changed = tokens.clone()
    changed[:, 2] = 5
    assert_close(decoder(changed, hidden, padding)[:, :2], decoder(tokens, hidden, padding)[:, :2])


def test_log_prob_of_hypotheses_is_that_of_their_tokens_and_their_end(
    decoder: TransformerDecoder, hidden: Tensor, padding: Tensor
) -> None:
    texts = [[[1, 2, 3], [4]], [[], [5, 5]]]
    padded = torch.tensor([[text + [0] * (3 - len(text)) for text in beam] for beam in texts])
    lengths = torch.tensor([[len(text) for text in beam] for beam in texts])
    found = decoder.log_prob(padded, lengths, hidden, padding, sos_eos=SOS_EOS)
    for row, beam in enumerate(texts):
        for place, text in enumerate(beam):
            inputs = torch.tensor([[SOS_EOS, *text]])
            log_probs = decoder(inputs, hidden[row : row + 1], padding[row : row + 1])[0].log_softmax(-1)
            expected = sum(log_probs[i, token] for i, token in enumerate([*text, SOS_EOS]))
            assert_close(found[row, place], torch.as_tensor(expected))


def test_every_parameter_gets_a_gradient(
    decoder: TransformerDecoder, hidden: Tensor, padding: Tensor, tokens: Tensor
) -> None:
    decoder.train()(tokens, hidden, padding).logsumexp(-1).sum().backward()
    assert all(parameter.grad is not None for parameter in decoder.parameters())


def test_positions_are_sines_and_cosines_of_falling_frequency() -> None:
    position = torch.tensor([0, 3])
    expected = torch.stack([position.sin(), position.cos(), (position / 100).sin(), (position / 100).cos()], -1)
    assert_close(sinusoidal_positions(position, 4), expected)


def test_dim_must_be_even_and_a_multiple_of_the_heads() -> None:
    with pytest.raises(ValueError, match="dim=9, num_heads=3"):
        TransformerDecoder(VOCAB, 9, num_heads=3, ffn_dim=4, num_layers=1)
