"""Streams are encoded as if they had been complete: by any chunks, in any order, with final segments encoded once."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mnemic_core import MemoryConfig
from mnemic_speech.simultaneous.config import SegmentConfig, SegmentEncoderConfig, Shift
from mnemic_speech.simultaneous.encoder import SegmentEncoder
from mnemic_speech.simultaneous.encoder_stream import EncoderStreams

SHIFTS: list[Shift] = ["none", "left", "right", "center", "all"]
SMALL = SegmentEncoderConfig(
    num_mels=8, dim=16, num_heads=2, ffn_dim=24, num_layers=2, conv_channels=4, segments=SegmentConfig(16, 8, 8),
    memory=MemoryConfig("summary_bank", {"capacity": 2}), max_distance=4,
)  # fmt: skip


def build(**options: Any) -> SegmentEncoder:
    torch.manual_seed(0)
    return SegmentEncoder(replace(SMALL, **options)).eval()


def check_prefixes(encoder: SegmentEncoder, shift: Shift, chunks: list[int]) -> None:
    streams, features = EncoderStreams(encoder, shift), torch.randn(1, sum(chunks), 8)
    state, final, received = streams.start(1), torch.zeros(1, 0, 16), 0
    for chunk in chunks:
        piece = features[:, received : received + chunk]
        added, unfinished, state = streams.push(piece, torch.tensor([chunk]), state)
        received += chunk
        final = torch.cat([final, added.frames], dim=1)
        so_far = torch.cat([final, unfinished.frames], dim=1)
        expected, _ = encoder(features[:, :received], torch.tensor([received]), shift)
        assert_close(so_far, expected, rtol=1e-4, atol=1e-5)
    added, unfinished, _ = streams.push(features[:, :0], torch.tensor([0]), state, ended=torch.tensor([True]))
    assert_close(torch.cat([final, added.frames], dim=1), encoder(features, torch.tensor([received]), shift)[0])
    assert unfinished.lengths.tolist() == [0]


@pytest.mark.parametrize("shift", SHIFTS)
def test_every_prefix_equals_the_complete_encoder(shift: Shift) -> None:
    check_prefixes(build(), shift, [1, 3, 12, 7, 16, 40, 5, 2])


@settings(deadline=None, max_examples=15)
@given(
    st.sampled_from(SHIFTS),
    st.lists(st.integers(1, 50), min_size=1, max_size=6),
    st.sampled_from([(0, 0), (16, 4), (8, 0), (24, 8)]),
)
def test_any_chunks_and_contexts(shift: Shift, chunks: list[int], context: tuple[int, int]) -> None:
    check_prefixes(build(segments=SegmentConfig(16, *context)), shift, chunks)


def test_final_segments_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, encoded = build(), []
    original = SegmentEncoder.encode_windows

    def counted(self: SegmentEncoder, features: Any, windows: Any, state: Any, final: Any) -> Any:
        encoded.append((int(final.sum()), int((windows.lengths > 0).sum())))
        return original(self, features, windows, state, final)

    monkeypatch.setattr(SegmentEncoder, "encode_windows", counted)
    streams = EncoderStreams(encoder, "all")
    state = streams.start(1)
    for _ in range(20):
        _, _, state = streams.push(torch.randn(1, 32, 8), torch.tensor([32]), state)
    finals, windows = map(sum, zip(*encoded, strict=True))
    assert finals == int(state.segments[0]) == 39  # 640 frames are 40 segments, the last of which is open
    assert windows <= 39 + 20 * 2  # and at most two that are open after each chunk


def test_streams_of_a_batch_go_at_their_own_pace_and_end_in_any_order() -> None:
    encoder = build()
    streams, lengths = EncoderStreams(encoder, "all"), [90, 33, 0]
    features = torch.randn(3, 90, 8)
    state, final = streams.start(3), [torch.zeros(0, 16) for _ in lengths]
    steps = [(20, 5, 0), (0, 28, 0), (50, 0, 0), (20, 0, 0)]
    taken = [0, 0, 0]
    for step, sizes in enumerate(steps):
        most = max(sizes)
        piece = torch.zeros(3, most, 8)
        for row, size in enumerate(sizes):
            piece[row, :size] = features[row, taken[row] : taken[row] + size]
            taken[row] += size
        ended = torch.tensor([step == 3, step >= 1, step == 0])
        added, _, state = streams.push(piece, torch.tensor(sizes), state, ended=ended)
        final = [
            torch.cat([done, new[:count]]) for done, new, count in zip(final, added.frames, added.lengths, strict=True)
        ]
    for row, length in enumerate(lengths):
        alone, _ = encoder(features[row : row + 1, :length], torch.tensor([length]), "all")
        assert_close(final[row], alone[0], rtol=1e-4, atol=1e-5)


def test_the_state_keeps_its_size_and_can_be_saved() -> None:
    streams = EncoderStreams(build(), "all")
    state = streams.start(2)
    size = state.nbytes
    for _ in range(10):
        _, _, state = streams.push(torch.randn(2, 40, 8), torch.tensor([40, 40]), state)
    assert state.nbytes == size
    again = state.refill(state.to_dict())
    piece = torch.randn(2, 40, 8)
    (first, _, _), (second, _, _) = (streams.push(piece, torch.tensor([40, 40]), each) for each in (state, again))
    assert torch.equal(first.frames, second.frames)
