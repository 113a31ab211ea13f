"""The segment encoder: equal to the released one, all segments at once equal to one after the other."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_files import GoldenCase, golden_cases
from torch.testing import assert_close

from mnemic_core import MemoryConfig
from mnemic_core.buffers.context_windows import context_windows
from mnemic_speech.simultaneous.config import SegmentConfig, SegmentEncoderConfig, Shift, shifted_sides
from mnemic_speech.simultaneous.encoder import SegmentEncoder
from mnemic_speech.simultaneous.weights import encoder_from_official
from mnemic_speech.simultaneous.windows import Windows

FOLDER = Path(__file__).parents[1] / "golden" / "speech"
FLAGS = "flags (center,right,left)"
NAMES: dict[tuple[bool, ...], Shift] = {
    (False, False, False): "none",
    (True, True, True): "all",
    (True, False, False): "center",
    (False, True, False): "right",
    (False, False, True): "left",
}
ENCODERS = [
    pytest.param(case, name, id=f"{case.name}-{name}")
    for case in golden_cases("speech", FOLDER, prefix="d")
    if not case.name.startswith("d1_")
    for name, flags in case.config[FLAGS].items()
    if tuple(map(bool, flags)) in NAMES
]
SMALL = SegmentEncoderConfig(
    num_mels=8, dim=16, num_heads=2, ffn_dim=24, num_layers=2, conv_channels=4, segments=SegmentConfig(16, 8, 8),
    memory=MemoryConfig("summary_bank", {"capacity": 2}), max_distance=4,
)  # fmt: skip
MEMORIES = {
    "summary_bank": SMALL.memory,
    "none": MemoryConfig("none"),
    "exponential": MemoryConfig("exponential"),
    "slot_attention": MemoryConfig("slot_attention", {"num_slots": 3, "num_heads": 2}),
}


def official(case: GoldenCase) -> SegmentEncoder:
    sizes = case.config
    config = SegmentEncoderConfig(
        num_mels=sizes["input_feat_per_channel"],
        dim=sizes["encoder_embed_dim"],
        num_heads=sizes["encoder_attention_heads"],
        ffn_dim=sizes["encoder_ffn_embed_dim"],
        num_layers=sizes["encoder_layers"],
        conv_channels=sizes["conv_out_channels"],
        segments=SegmentConfig(sizes["segment_size"], sizes["left_context"], sizes["right_context"]),
        # -1 and 0 keep all summaries: as many as there are segments.
        memory=MemoryConfig(
            "summary_bank", {"capacity": sizes["max_memory_size"] if sizes["max_memory_size"] > 0 else sizes["frames"]}
        ),
        positions="relative" if sizes["max_relative_position"] > 0 else "sinusoidal",
        max_distance=max(1, sizes["max_relative_position"]),
    )
    encoder = SegmentEncoder(config).eval()
    encoder.load_state_dict(encoder_from_official(case.state))
    return encoder


def build(**options: Any) -> SegmentEncoder:
    torch.manual_seed(0)
    return SegmentEncoder(replace(SMALL, **options)).eval()


def one_after_the_other(encoder: SegmentEncoder, features: torch.Tensor, shift: Shift) -> torch.Tensor:
    sizes = encoder.config.segments
    outputs, state = [], encoder.init_state(len(features))
    windows = context_windows(features.shape[1], sizes.length, sizes.left, sizes.right, shift=shifted_sides(shift))
    for window in windows:
        rows = Windows.of_layouts([[window]] * len(features))
        piece = features[:, window.start : window.stop]
        frames, state = encoder.encode_windows(piece, rows, state, torch.ones(len(features), dtype=torch.long))
        outputs.append(rows.join(frames, len(features))[0])
    return torch.cat(outputs, dim=1)


@pytest.mark.golden
@pytest.mark.parametrize(("case", "name"), ENCODERS)
def test_the_encoder_equals_the_released_one(case: GoldenCase, name: str) -> None:
    encoder, shift = official(case), NAMES[tuple(map(bool, case.config[FLAGS][name]))]
    x = case.inputs["src_tokens"].clone().requires_grad_()
    # The released code masks no padding of shorter rows. Its sinusoids leave out some of it: the first row is whole.
    rows = slice(None) if encoder.config.positions == "relative" else slice(1)
    output, lengths = encoder(x[rows], torch.full((len(x[rows]),), x.shape[1]), shift)
    expected = case.outputs[f"{name}.encoder_out"].transpose(0, 1)
    assert_close(output, expected[rows], atol=case.tolerance, rtol=case.tolerance)
    assert lengths.tolist() == [expected.shape[1]] * len(output)
    gradient = f"{name}.grad_x_of_last_frame_sum"
    if gradient in case.outputs and rows == slice(None):
        (found,) = torch.autograd.grad(output[:, -1].sum(), x)
        case.assert_output(gradient, found)


@pytest.mark.golden
@pytest.mark.parametrize(("case", "name"), ENCODERS)
def test_prefixes_equal_the_released_ones(case: GoldenCase, name: str) -> None:
    encoder, shift = official(case), NAMES[tuple(map(bool, case.config[FLAGS][name]))]
    prefixes = [key for key in case.outputs if key.startswith(f"{name}.prefix")]
    assert prefixes
    for key in prefixes:
        length = int(key.removeprefix(f"{name}.prefix").removesuffix(".encoder_out"))
        output, _ = encoder(case.inputs["src_tokens"][:1, :length], torch.tensor([length]), shift)
        case.assert_output(key, output.transpose(0, 1))


@pytest.mark.parametrize("shift", ["none", "left", "right", "center", "all"])
@pytest.mark.parametrize("memory", MEMORIES)
def test_all_segments_at_once_equal_one_after_the_other(memory: str, shift: Shift) -> None:
    encoder = build(memory=MEMORIES[memory])
    for parameter in encoder.parameters():  # gates of memories begin at 0
        torch.nn.init.normal_(parameter, std=0.3)
    for length in (1, 5, 16, 31, 53, 64):
        features = torch.randn(2, length, 8)
        together, _ = encoder(features, torch.tensor([length] * 2), shift)
        assert_close(together, one_after_the_other(encoder, features, shift), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shift", ["none", "all"])
def test_a_recording_does_not_depend_on_its_batch(shift: Shift) -> None:
    encoder, lengths = build(), torch.tensor([53, 9, 0, 37])
    features = torch.randn(4, 53, 8)
    features[1, 9:] = 1e4  # padding may hold anything finite
    together, valid = encoder(features, lengths, shift)
    assert valid.tolist() == [14, 3, 0, 10]
    for row, length in enumerate(lengths.tolist()):
        alone, _ = encoder(features[row : row + 1, :length], lengths[row : row + 1], shift)
        assert_close(together[row, : valid[row]], alone[0, : valid[row]], rtol=1e-4, atol=1e-5)
    assert together[1, 3:].abs().max() == 0


def test_the_memory_reaches_the_next_segments_and_only_those() -> None:
    encoder, features = build(suppression=None, segments=SegmentConfig(16, 0, 0)), torch.randn(1, 64, 8)
    features.requires_grad_()
    output, _ = encoder(features, torch.tensor([64]))
    (later,) = torch.autograd.grad(output[0, 8:12].sum(), features, retain_graph=True)  # the third segment
    (first,) = torch.autograd.grad(output[0, :4].sum(), features)
    reached = later[0].abs().sum(1)
    assert reached[:32].min() > 0  # through summaries
    assert reached[48:].max() == 0
    assert first[0, 16:].abs().max() == 0


def test_half_precision_is_close() -> None:
    encoder, features = build(), torch.randn(2, 53, 8)
    exact, _ = encoder(features, torch.tensor([53, 30]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, _ = encoder(features, torch.tensor([53, 30]))
    assert (rough.float() - exact).abs().mean() < 0.1


def test_windows_with_the_same_frames_are_embedded_once() -> None:
    """With all shifts the last windows of a recording often are the same."""
    windows = Windows.of([80, 40], SegmentConfig(32, 16, 16), shifted_sides("all"))
    assert windows.distinct.tolist() == [0, 1, 3, 5]  # rows of recording 0: 0-64, 16-80, 16-80; of 1: 0-40, 0-40, empty
    assert windows.source.tolist() == [0, 1, 1, 2, 2, 3]
    features = torch.randn(2, 80, 8)
    cut = windows.cut(features)
    assert torch.equal(cut[windows.distinct][windows.source], cut)
