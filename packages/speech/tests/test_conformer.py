from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mnemic_speech.conformer import Conformer, ConformerConfig, ConformerState

SMALL = ConformerConfig(num_mels=9, dim=8, num_heads=2, ffn_dim=12, num_layers=2, kernel_size=5)
CHUNKED = replace(SMALL, is_causal_conv=True, chunk_size=3, left_chunks=1)


def encoder_of(config: ConformerConfig) -> Conformer:
    """Return an encoder whose batch norms have seen something, so that a missing one shows."""
    torch.manual_seed(0)
    encoder = Conformer(config)
    with torch.no_grad():
        encoder(3 * torch.randn(4, 60, config.num_mels) + 1)
    return encoder.eval()


def seen_by(encoder: Conformer, frame: int, time: int) -> Tensor:
    """Return the feature frames that one hidden frame depends on."""
    features = torch.randn(1, time, 9, requires_grad=True)
    (gradient,) = torch.autograd.grad(encoder(features)[0][0, frame].square().sum(), features)
    return gradient[0].abs().sum(-1).nonzero().flatten()


def streamed(encoder: Conformer, features: Tensor, lengths: Tensor, state: ConformerState | None = None) -> Tensor:
    state = state or encoder.init_state(len(features))
    padding = torch.arange(features.shape[1]) >= lengths[:, None]
    pieces = []
    for start in range(0, features.shape[1], 12):
        chunk = slice(start, start + 12)
        hidden, state = encoder.stream(features[:, chunk], state, padding=padding[:, chunk])
        assert torch.equal(
            encoder.chunk_padding(features[:, chunk], padding[:, chunk]),
            encoder(features, lengths)[1][:, start // 4 : start // 4 + 3],
        )
        pieces.append(hidden)
    return torch.cat(pieces, 1)


@pytest.mark.parametrize("config", [SMALL, CHUNKED, replace(SMALL, is_causal_conv=True)])
def test_a_padded_recording_gives_what_it_gives_alone(config: ConformerConfig) -> None:
    encoder = encoder_of(config)
    features, lengths = torch.randn(3, 47, 9), torch.tensor([47, 30, 9])
    features[torch.arange(47) >= lengths[:, None]] = torch.nan
    hidden, padding = encoder(features, lengths)
    for row, length in enumerate(lengths):
        alone, nothing = encoder(features[row : row + 1, :length])
        assert not nothing.any()
        assert_close(hidden[row, ~padding[row]], alone[0])


def test_in_training_statistics_leave_padding_out() -> None:
    features, more = torch.randn(2, 39, 9), torch.randn(2, 24, 9)
    states = []
    for given in (features, torch.cat([features, more], 1)):
        encoder = encoder_of(replace(SMALL, dropout=0.0)).train()
        encoder(given, torch.tensor([39, 39]))
        states.append(encoder.state_dict())
    assert_close(states[0], states[1])


def test_the_released_form_lets_padding_through_and_counts_a_frame_more() -> None:
    encoder, released = encoder_of(SMALL), encoder_of(replace(SMALL, mask_conv=False))
    features, lengths = torch.randn(2, 61, 9), torch.tensor([61, 52])
    assert encoder(features, lengths)[1].sum(1).tolist() == [0, 2]
    hidden, padding = released(features, lengths)
    assert padding.sum(1).tolist() == [0, 1]
    assert not torch.allclose(hidden[1, :12], released(features[1:, :52])[0][0, :12])


@pytest.mark.parametrize("time", [0, 1, 6])
def test_recordings_too_short_for_a_frame_are_all_padding(time: int) -> None:
    hidden, padding = encoder_of(SMALL)(torch.randn(2, time, 9))
    assert padding.all()
    assert hidden.isfinite().all()


@pytest.mark.parametrize("left_chunks", [-1, 0, 2])
def test_a_frame_sees_its_chunk_and_those_before_that_it_may_see(left_chunks: int) -> None:
    # One block, else what the chunks before have seen comes along; kernel 1, else the convolution looks back too.
    config = replace(CHUNKED, left_chunks=left_chunks, num_layers=1, kernel_size=1)
    seen = seen_by(encoder_of(config), frame=10, time=60)  # in the chunk of frames 9 to 11
    first_chunk = 0 if left_chunks < 0 else 3 - left_chunks
    assert seen[0] == max(0, 4 * 3 * first_chunk - 4)
    assert seen[-1] == 4 * 11 + 2


@pytest.mark.parametrize("changes", [{}, {"left_chunks": 0}, {"left_chunks": 3, "kernel_size": 1}, {"num_heads": 1}])
def test_a_stream_equals_the_masked_recording_chunk_by_chunk(changes: dict[str, Any]) -> None:
    encoder = encoder_of(replace(CHUNKED, **changes))
    features, lengths = torch.randn(3, 60, 9), torch.tensor([60, 41, 13])
    features[torch.arange(60) >= lengths[:, None]] = torch.nan
    hidden, padding = encoder(features, lengths)
    assert_close(streamed(encoder, features, lengths)[~padding], hidden[~padding])


def test_the_state_of_a_stream_keeps_its_size_and_goes_through_a_file(tmp_path: Path) -> None:
    encoder, features = encoder_of(CHUNKED), torch.randn(2, 48, 9)
    start = encoder.init_state(2)
    _, state = encoder.stream(features[:, :12], start)
    assert {name: each.shape for name, each in state.tensors().items()} == {
        name: each.shape for name, each in start.tensors().items()
    }
    state.save(tmp_path / "state")
    loaded = ConformerState.load(tmp_path / "state")
    expected, after = encoder.stream(features[:, 12:24], state)
    assert torch.equal(encoder.stream(features[:, 12:24], loaded)[0], expected)
    assert after.count.tolist() == [6, 6]


def test_a_row_that_is_reset_begins_a_new_stream() -> None:
    encoder, features = encoder_of(CHUNKED), torch.randn(2, 24, 9)
    _, state = encoder.stream(features[:, :12], encoder.init_state(2))
    reset = torch.tensor([False, True])
    hidden, _ = encoder.stream(features[:, 12:], state, reset=reset)
    assert_close(hidden[0], encoder.stream(features[:, 12:], state)[0][0])
    assert_close(hidden[1], encoder(features[1:, 12:])[0][0, :3])


def test_sizes_are_those_of_the_released_model() -> None:
    with torch.device("meta"):
        encoder = Conformer(ConformerConfig())
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 20_906_496


def test_settings_that_cannot_be_are_refused() -> None:
    for changes, message in (
        ({"chunk_size": 4}, "chunk_size needs is_causal_conv=True.*is_causal_conv=False"),
        ({"is_causal_conv": True, "mask_conv": False}, "the released code, which has no causal form"),
        ({"num_layers": 0}, "num_layers must be at least 1"),
        ({"left_chunks": -2}, r"left_chunks must be at least -1, got -2"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(SMALL, **changes)


def test_streams_need_chunks_of_their_size_and_a_bounded_reach() -> None:
    for config in (SMALL, replace(CHUNKED, left_chunks=-1)):
        with pytest.raises(ValueError, match="configure chunk_size and left_chunks >= 0"):
            Conformer(config).init_state(1)
    encoder = Conformer(CHUNKED)
    with pytest.raises(ValueError, match="takes 4 times as many feature frames at once, got 11"):
        encoder.stream(torch.zeros(1, 11, 9), encoder.init_state(1))
