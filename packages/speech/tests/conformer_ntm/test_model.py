from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from mnemic_core import LayerStates, MemoryConfig, MemoryState, NoMemory
from mnemic_core.testing import unchecked_annotations
from mnemic_speech.conformer_ntm import ConformerNtm, ConformerNtmConfig, Encoded

Build = Callable[..., ConformerNtm]
Utterances = tuple[Tensor, Tensor, Tensor, Tensor]
CHUNKS = {"is_causal_conv": True, "chunk_size": 3, "left_chunks": 1}


def streamed(model: ConformerNtm, features: Tensor, lengths: Tensor, state: LayerStates) -> tuple[Tensor, LayerStates]:
    padding = torch.arange(features.shape[1]) >= lengths[:, None]
    pieces = []
    for start in range(0, features.shape[1], 12):
        chunk = slice(start, start + 12)
        encoded = model.stream(features[:, chunk], state, padding=padding[:, chunk])
        assert isinstance(encoded.state, LayerStates)
        state = encoded.state
        pieces.append(encoded.hidden)
    return torch.cat(pieces, 1), state


@pytest.mark.parametrize("ctc_weight", [0.0, 0.3, 1.0])
def test_every_parameter_gets_a_gradient(
    build: Build, utterances: Utterances, memory_name: str, ctc_weight: float
) -> None:
    model = build(memory_name, ctc_weight=ctc_weight, memory_segment=25)  # one segment: its write is never read
    losses = model.loss(*utterances)
    losses.total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert (model.ctc is None, model.decoder is None) == (ctc_weight == 0, ctc_weight == 1)
    assert (losses.ctc == 0, losses.attention == 0) == (ctc_weight == 0, ctc_weight == 1)


def test_the_total_is_the_weighted_sum(build: Build, utterances: Utterances) -> None:
    losses = build(ctc_weight=0.25).eval().loss(*utterances)
    assert_close(losses.total, 0.25 * losses.ctc + 0.75 * losses.attention)
    assert 0 <= losses.accuracy <= 1


def test_the_loss_of_a_batch_is_the_mean_of_those_of_its_utterances(build: Build, utterances: Utterances) -> None:
    model = build().eval()
    features, lengths, tokens, token_lengths = utterances
    alone = [
        model.loss(
            features[row : row + 1, : lengths[row]],
            lengths[row : row + 1],
            tokens[row : row + 1, : token_lengths[row]],
            token_lengths[row : row + 1],
        )
        for row in range(2)
    ]
    complete = model.loss(*utterances)
    for name in ("total", "ctc", "attention"):
        assert_close(getattr(complete, name), sum(getattr(each, name) for each in alone) / 2, msg=name)


class StreamedCtc(nn.Module):
    """What a deployed stream computes: a chunk and a state in, CTC and a state out."""

    def __init__(self, model: ConformerNtm) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, state: LayerStates) -> tuple[Tensor, MemoryState]:
        encoded = self.model.stream(features, state)
        return self.model.ctc_log_probs(encoded.hidden), encoded.state


@torch.no_grad()
def test_a_stream_is_exported_as_one_graph_with_its_state_outside(build: Build) -> None:
    deployed = StreamedCtc(build("turing_paper", CHUNKS).eval())
    state, features = deployed.model.init_stream(2), torch.randn(2, 24, 9)
    with unchecked_annotations():
        program = torch.export.export(deployed, (features[:, :12], state)).module()
        exported = state
        for chunk in features.split(12, 1):
            log_probs, exported = program(chunk, exported)
    expected = deployed.model.ctc_log_probs(streamed(deployed.model, features, torch.tensor([24, 24]), state)[0])
    assert_close(log_probs, expected[:, 3:])


def test_a_memory_that_is_carried_over_counts_and_gradients_cross(
    build: Build, utterances: Utterances, memory_name: str
) -> None:
    model = build(memory_name).eval()
    features = utterances[0][:, :30].clone().requires_grad_()
    first = model.encode(features)
    second = model.encode(utterances[0][:, :30], state=first.state)
    is_same = torch.equal(second.hidden, model.encode(utterances[0][:, :30]).hidden)
    assert is_same is (memory_name == "none")
    if memory_name not in ("none", "exponential"):  # its stored values have no gradient
        (gradient,) = torch.autograd.grad(second.hidden.square().sum(), features)
        assert gradient.abs().sum() > 0


def test_the_loss_returns_the_memory_for_the_utterances_that_follow(build: Build, utterances: Utterances) -> None:
    model = build().eval()
    state = model.loss(*utterances).state
    assert_close(state.tensors(), model.encode(*utterances[:2]).state.tensors())
    assert model.loss(*utterances, state=state).total != model.loss(*utterances).total


def test_a_stream_equals_the_recording_and_resumes_from_a_file(
    build: Build, utterances: Utterances, memory_name: str, tmp_path: Path
) -> None:
    model = build(memory_name, CHUNKS).eval()
    features, lengths = torch.cat([utterances[0], utterances[0][:, :1]], 1), utterances[1]
    encoded = model.encode(features, lengths)
    hidden, after = streamed(model, features, lengths, model.init_stream(2))
    assert_close(hidden[~encoded.padding], encoded.hidden[~encoded.padding])
    assert_close(after.layers[1].tensors(), encoded.state.tensors())
    first, state = streamed(model, features[:, :24], lengths, model.init_stream(2))
    state.save(tmp_path / "state")
    rest, _ = streamed(model, features[:, 24:], lengths - 24, LayerStates.load(tmp_path / "state"))
    assert_close(torch.cat([first, rest], 1)[~encoded.padding], hidden[~encoded.padding])


def test_a_reset_stream_starts_from_the_initial_state(build: Build) -> None:
    model, features = build("turing_paper", CHUNKS).eval(), torch.randn(2, 12, 9)
    used = model.stream(features, model.init_stream(2)).state
    assert isinstance(used, LayerStates)
    again = model.stream(features, used, reset=torch.tensor([True, False]))
    fresh = model.stream(features, model.init_stream(2))
    assert_close(again.hidden[0], fresh.hidden[0])
    assert not torch.allclose(again.hidden[1], fresh.hidden[1])


def test_it_learns_utterances_by_heart(build: Build, utterances: Utterances) -> None:
    model = build("turing_paper")
    optimizer = torch.optim.Adam(model.parameters(), 2e-2)
    totals = []
    for _ in range(15):
        losses = model.loss(*utterances)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        totals.append(float(losses.total.detach()))
    assert totals[-1] < 0.5 * totals[0], totals


def test_half_precision_outside_keeps_probabilities_and_memory_in_single(build: Build, utterances: Utterances) -> None:
    model = build().eval()
    with torch.autocast("cpu", torch.bfloat16):
        encoded = model.encode(*utterances[:2])
        log_probs = model.ctc_log_probs(encoded.hidden)
        losses = model.loss(*utterances)
    assert encoded.state.tensors()["memory"].dtype == log_probs.dtype == losses.total.dtype == torch.float32
    assert_close(losses.total, model.loss(*utterances).total, rtol=0.05, atol=0)


def test_sizes_are_those_of_the_released_model() -> None:
    with torch.device("meta"):
        model = ConformerNtm(ConformerNtmConfig(vocab_size=5000, memory=MemoryConfig("turing_release")))
    assert model.decoder is not None
    assert model.ctc is not None
    parts = (model.encoder, model.memory, model.decoder, model.ctc)
    counts = [sum(parameter.numel() for parameter in part.parameters()) for part in parts]
    assert counts == [20_906_496, 82_236, 12_038_024, 1_285_000]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 2}, r"vocab_size must be at least 3 \(blank, one token, end of sentence\), got 2"),
        ({"ctc_weight": 1.5}, "ctc_weight must be between 0 and 1 .*, got 1.5 and 0.1"),
        ({"label_smoothing": 1.0}, "label_smoothing at least 0 and below 1, got 0.3 and 1.0"),
        ({"memory_segment": 0}, "memory_segment must be at least 1, got 0"),
        (
            {"memory": MemoryConfig("window")},
            "chunk_size must be a multiple of memory_segment.*chunk_size=3, memory_segment=4",
        ),
    ],
)
def test_impossible_settings_are_refused(build: Build, changes: dict[str, Any], message: str) -> None:
    config = build("turing_paper", CHUNKS, memory_segment=4).config
    with pytest.raises(ValueError, match=message):
        replace(config, **changes)


def test_what_a_network_lacks_is_said(build: Build) -> None:
    with pytest.raises(ValueError, match=r"no CTC branch \(ctc_weight=0\): decode with attention alone"):
        build(ctc_weight=0.0).ctc_log_probs(torch.zeros(1, 2, 8))
    model = build("turing_paper", CHUNKS)
    state = LayerStates((model.init_state(1),))
    with pytest.raises(TypeError, match=r"expected the state of a stream .*; begin with init_stream"):
        model.stream(torch.zeros(1, 12, 9), state)


def test_lengths_are_the_frames_that_are_no_padding() -> None:
    padding = torch.tensor([[False, True], [False, False]])
    assert Encoded(torch.zeros(2, 2, 4), padding, NoMemory(4).init_state(2)).lengths.tolist() == [1, 2]
