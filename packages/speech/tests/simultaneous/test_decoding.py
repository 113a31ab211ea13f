"""Writing while reading equals the complete network on what had been read."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mnemic_speech.simultaneous.config import SegmentConfig, SegmentEncoderConfig, SimultaneousConfig
from mnemic_speech.simultaneous.decoding import DecodingState, StreamDecoder, decode_complete
from mnemic_speech.simultaneous.encoder_stream import EncoderStreams
from mnemic_speech.simultaneous.model import AugmentedMemoryTransformer
from mnemic_speech.simultaneous.policies import HoldN, LocalAgreement, Policy, WaitK

ENCODER = SegmentEncoderConfig(
    num_mels=8, dim=16, num_heads=2, ffn_dim=24, num_layers=2, conv_channels=4, segments=SegmentConfig(16, 0, 0)
)
CONFIG = SimultaneousConfig(vocab_size=11, encoder=ENCODER, decoder_layers=2, decoder_ffn_dim=24, ratio=2)


def build(seed: int = 3, **options: Any) -> AugmentedMemoryTransformer:
    torch.manual_seed(seed)
    model = AugmentedMemoryTransformer(replace(CONFIG, encoder=replace(ENCODER, **options))).eval()
    for parameter in model.parameters():  # far from the same token for ever
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def translate(
    model: AugmentedMemoryTransformer, policy: Policy, features: Tensor, chunk: int, **limits: int
) -> tuple[list[int], list[int], DecodingState]:
    """Return tokens, and how many feature frames had been read when each was written."""
    streams, decoder = EncoderStreams(model.encoder, "none"), StreamDecoder(model, policy, **limits)
    encoded, state = streams.start(1), decoder.start(1)
    tokens, delays = [], []
    for start in range(0, features.shape[1], chunk):
        piece = features[:, start : start + chunk]
        ended = torch.tensor([start + chunk >= features.shape[1]])
        final, unfinished, encoded = streams.push(piece, torch.tensor([piece.shape[1]]), encoded, ended)
        (new,), state = decoder.advance(state, final, unfinished, ended)
        tokens += new
        delays += [start + piece.shape[1]] * len(new)
    return tokens, delays, state


@pytest.mark.parametrize("k", [1, 3, 50])
def test_wait_k_writes_what_the_complete_network_predicts(k: int) -> None:
    """With segments as long as chunks and without context, no frame changes after it has been seen."""
    model, features = build(), torch.randn(1, 128, 8)
    tokens, delays, _ = translate(model, WaitK(k, ratio=2), features, chunk=16)
    assert tokens
    inputs = torch.tensor([[10, *tokens]])
    logits = model(features, torch.tensor([128]), inputs, k)
    predicted = logits[0].argmax(-1).tolist()
    assert tokens == predicted[: len(tokens)]
    # 16 feature frames are 4 encoder frames, two decisions; the first token needs k of them, or the end.
    assert delays[0] == min(128, 16 * -(-k // 2))
    assert delays == sorted(delays)


@pytest.mark.parametrize("chunk", [8, 16, 24])
def test_wait_k_reads_on_where_a_translation_would_end_before_its_source(chunk: int) -> None:
    """Later tokens wait for a decision more, as with a greater k, however the source is cut into chunks."""
    model = build(seed=8, segments=SegmentConfig(8, 0, 0))
    features = torch.randn(1, 96, 8, generator=torch.Generator().manual_seed(8))
    wanted, skipped, k = list[int](), 0, 1
    while len(wanted) + skipped + k < 12:  # decisions: 12 of 8 feature frames
        inputs = torch.tensor([[10, *wanted]])
        token = int(model(features, torch.tensor([96]), inputs, k + skipped)[0, -1].argmax())
        skipped += token == 10
        wanted += [] if token == 10 else [token]
    assert skipped >= 2
    assert len(wanted) >= 2
    tokens, delays, state = translate(model, WaitK(k, ratio=2), features, chunk)
    assert tokens[: len(wanted)] == wanted
    assert int(state.skipped[0]) == skipped
    assert delays == sorted(delays)


@pytest.mark.parametrize("policy", [LocalAgreement(), HoldN(3)], ids=["agreement", "hold"])
def test_other_policies_never_take_back_and_end_with_the_whole_source(policy: Policy) -> None:
    model, features = build(segments=SegmentConfig(16, 8, 8)), torch.randn(1, 100, 8)
    tokens, delays, state = translate(model, policy, features, chunk=12)
    assert bool(state.finished[0]) or int(state.after_end[0]) > 0
    assert state.tokens[0, : state.written[0]].tolist() == tokens
    assert delays == sorted(delays)


def test_an_offline_policy_is_greedy_search() -> None:
    model, features = build(), torch.randn(1, 64, 8)
    tokens, delays, _ = translate(model, HoldN(1000), features, chunk=16, max_tokens=12)
    inputs = torch.tensor([[10, *tokens]])
    logits = model(features, torch.tensor([64]), inputs, k=1000)
    assert tokens == logits[0].argmax(-1).tolist()[: len(tokens)]
    assert set(delays) == {64}


def test_streams_of_a_batch_write_as_they_would_alone() -> None:
    model, lengths = build(segments=SegmentConfig(16, 8, 8)), [90, 33, 64]
    features = torch.randn(3, 90, 8)
    streams, decoder = EncoderStreams(model.encoder, "all"), StreamDecoder(model, WaitK(2, ratio=2))
    encoded, state, found = streams.start(3), decoder.start(3), [[], [], []]  # type: ignore[var-annotated]
    for start in range(0, 100, 20):
        sizes = [max(0, min(20, length - start)) for length in lengths]
        ended = torch.tensor([start + 20 >= length for length in lengths])
        piece = torch.nn.functional.pad(features[:, start : start + 20], (0, 0, 0, 20))[:, :20]
        final, unfinished, encoded = streams.push(piece, torch.tensor(sizes), encoded, ended)
        new, state = decoder.advance(state, final, unfinished, ended)
        found = [done + more for done, more in zip(found, new, strict=True)]
    for row, length in enumerate(lengths):
        one, alone = EncoderStreams(model.encoder, "all"), StreamDecoder(model, WaitK(2, ratio=2))
        state_one, state_alone, tokens = one.start(1), alone.start(1), []
        for start in range(0, length, 20):
            piece = features[row : row + 1, start : min(length, start + 20)]
            ended = torch.tensor([start + 20 >= length])
            final, unfinished, state_one = one.push(piece, torch.tensor([piece.shape[1]]), state_one, ended)
            (new_tokens,), state_alone = alone.advance(state_alone, final, unfinished, ended)
            tokens += new_tokens
        assert found[row] == tokens


def test_a_state_can_be_saved_between_chunks() -> None:
    model, features = build(), torch.randn(1, 64, 8)
    streams, decoder = EncoderStreams(model.encoder, "none"), StreamDecoder(model, WaitK(1, ratio=2))
    final, unfinished, encoded = streams.push(features[:, :32], torch.tensor([32]), streams.start(1))
    _, state = decoder.advance(decoder.start(1), final, unfinished, torch.tensor([False]))
    again = state.refill(state.to_dict())
    ended = torch.tensor([True])
    final, unfinished, encoded = streams.push(features[:, 32:], torch.tensor([32]), encoded, ended)
    first, _ = decoder.advance(state, final, unfinished, ended)
    second, _ = decoder.advance(again, final, unfinished, ended)
    assert first == second
    assert_close(state.tokens, again.tokens)


def test_a_network_without_an_end_stops() -> None:
    model, features = build(), torch.randn(1, 64, 8)
    with torch.no_grad():
        model.decoder.norm.weight.zero_()
        model.decoder.norm.bias.fill_(1.0)
        model.decoder.output.weight.copy_(torch.arange(11.0)[:, None].expand(-1, 16))
        model.decoder.output.weight[10] = -1.0  # the end, never; always token 9
    tokens, _, state = translate(model, WaitK(1, ratio=2), features, chunk=16, max_after_end=5)
    assert set(tokens) == {9}
    assert int(state.after_end[0]) == 5
    assert bool(state.finished[0])
    short, _, _ = translate(model, WaitK(1, ratio=2), features, chunk=16, max_tokens=4)
    assert len(short) == 4


@pytest.mark.parametrize("k", [1, 3])
def test_complete_recordings_are_decoded_as_in_training(k: int) -> None:
    model = build(segments=SegmentConfig(16, 8, 8))
    features, lengths = torch.randn(2, 96, 8), torch.tensor([96, 53])
    for row, tokens in enumerate(decode_complete(model, features, lengths, WaitK(k, ratio=2), max_tokens=9)):
        assert tokens
        inputs = torch.tensor([[model.config.sos_eos_id, *tokens]])
        logits = model(features[row : row + 1, : lengths[row]], lengths[row : row + 1], inputs, k)
        predicted = logits[0].argmax(-1).tolist()
        assert predicted[: len(tokens)] == tokens
        assert len(tokens) == 9 or predicted[-1] == model.config.sos_eos_id
