"""The summary bank and its windows, alone and inside the encoder that the released code builds around them."""

import math
from pathlib import Path

import pytest
import torch
from golden_files import GoldenCase, golden_cases
from torch import Tensor, nn
from torch.testing import assert_close

from mnemic_core.buffers.context_windows import SIDES, ContextWindow, context_windows
from mnemic_core.buffers.ring_buffer import RingBuffer
from mnemic_core.buffers.summary_bank import SummaryBank, summary_bank_from_official, suppress_weak_attention
from mnemic_core.testing import CONTRACT, POLICY_RULES

DIM = 4
FOLDER = Path(__file__).parent.parent / "golden"
SHIFTS = {
    "none": (),
    "left": ("left",),
    "center": ("center",),
    "right": ("right",),
    "center_right": ("center", "right"),
    "all": SIDES,
}


def small(**options: object) -> SummaryBank:
    torch.manual_seed(0)
    return SummaryBank(DIM, num_heads=2, capacity=2, max_distance=2, **options)  # type: ignore[arg-type]


def filled(bank: SummaryBank, summaries: Tensor) -> RingBuffer:
    return bank.init_state(len(summaries)).append(summaries)


@pytest.mark.parametrize(("detach", "rule"), POLICY_RULES)
def test_the_contract_is_kept(detach: str, rule: str) -> None:
    CONTRACT[rule](small(detach=detach))


def naive(bank: SummaryBank, frames: Tensor, summaries: list[Tensor]) -> Tensor:
    """The definition for one row: query by query, head by head, key by key."""
    attention, heads = bank.attention, bank.attention.num_heads
    query, key, value = attention.project.weight.view(3, DIM, DIM)
    query_bias, key_bias, value_bias = attention.project.bias.view(3, DIM)
    keys = torch.stack([*summaries, *frames])
    number, past = len(frames), len(summaries)
    results = []
    for i, token in enumerate([*frames, frames.mean(0)]):
        parts = []
        for head in torch.arange(DIM).view(heads, -1):
            seen = range(past if i == number else 0, past + number)
            rows = [min(max(j - past - i, -attention.max_distance), attention.max_distance) for j in seen]
            rows = [row + attention.max_distance for row in rows]
            q = (query @ token + query_bias)[head] / math.sqrt(len(head))
            k = (keys[list(seen)] @ key.T + key_bias)[:, head] + attention.relative_keys[rows]
            v = (keys[list(seen)] @ value.T + value_bias)[:, head] + attention.relative_values[rows]
            prob = (k @ q).softmax(0)
            prob = prob * (prob >= prob.mean() - attention.suppression * prob.std())
            parts.append(prob / prob.sum() @ v)
        results.append(attention.output(torch.cat(parts)))
    return torch.stack(results)


def test_a_segment_equals_the_definition_written_as_loops() -> None:
    bank, segments = small(), torch.randn(4, 3, DIM)
    state, summaries = bank.init_state(1), []
    for segment in segments:
        output, state = bank(segment[None], state)
        expected = naive(bank, segment, summaries[-2:])
        assert_close(output[0], expected[:-1])
        summaries.append(expected[-1])
    assert_close(state.ordered()[0], torch.stack(summaries[-2:]))


def test_the_summary_never_sees_the_bank_but_the_frames_do() -> None:
    bank, frames = small(), torch.randn(2, 3, DIM)
    (one, first), (other, second) = (bank(frames, filled(bank, torch.randn(2, 2, DIM))) for _ in range(2))
    assert torch.equal(first.ordered()[:, -1], second.ordered()[:, -1])
    assert not torch.allclose(one, other)


def test_the_summary_is_of_the_center_and_context_is_only_attended_to() -> None:
    bank = small()
    frames, center = torch.randn(1, 5, DIM), torch.tensor([[False, True, True, True, False]])
    _, state = bank(frames, bank.init_state(1), center=center)
    nothing = torch.zeros(1, 5, dtype=torch.bool)
    _, expected = bank.attention(frames, frames[:, 1:4].mean(1), bank.init_state(1), nothing)
    assert_close(state.ordered()[:, 0], expected)


def test_padding_may_be_anywhere_and_hold_anything() -> None:
    bank, frames = small(), torch.randn(1, 4, DIM)
    holes = torch.tensor([[True, False, False, True, False, False, True]])
    padded = torch.full((1, 7, DIM), torch.nan)
    padded[~holes] = frames[0]
    start = filled(bank, torch.randn(1, 1, DIM))
    output, state = bank(padded, start, padding=holes)
    expected, expected_state = bank(frames, start)
    assert_close(output[~holes], expected[0])
    assert_close(state.tensors(), expected_state.tensors())


def test_windows_at_once_equal_one_after_the_other() -> None:
    bank, x = small(), torch.randn(2, 5, 4, DIM)
    padding, center = torch.rand(2, 5, 4) < 0.2, torch.rand(2, 5, 4) < 0.7
    padding[..., 0] = False
    center[..., 0] = True
    start = filled(bank, torch.randn(2, 1, DIM))
    final = torch.tensor([5, 3])
    rows = [each.flatten(0, 1) for each in (x, padding, center)]
    together, after = bank.run_windows(rows[0], start, rows[1], rows[2], final)
    state, expected = start, start
    for place in range(5):
        output, state = bank(x[:, place], state, padding=padding[:, place], center=center[:, place])
        real = ~padding[:, place]
        assert_close(together.unflatten(0, (2, 5))[:, place][real], output[real])
        expected = expected.replace_rows(place < final, state)
    assert_close(after.tensors(), expected.tensors())


def test_a_row_of_padding_writes_nothing_and_harms_no_gradient() -> None:
    bank, padding = small(), torch.tensor([[True] * 3, [False] * 3])
    output, state = bank(torch.randn(2, 3, DIM), bank.init_state(2), padding=padding)
    assert state.count.tolist() == [0, 1]
    (output.sum() + state.items.sum()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in bank.parameters())


def test_an_empty_segment_changes_nothing() -> None:
    bank = small()
    start = filled(bank, torch.randn(2, 1, DIM))
    output, state = bank(torch.empty(2, 0, DIM), start)
    assert output.shape == (2, 0, DIM)
    assert state is start


def test_a_nan_stays_in_its_row() -> None:
    bank, frames = small(), torch.randn(2, 3, DIM)
    frames[0, 1] = torch.nan
    output, state = bank(frames, bank.init_state(2))
    assert output[0].isnan().any()
    assert output[1].isfinite().all()
    assert state.items[1].isfinite().all()


def test_half_precision_frames_meet_a_full_precision_bank() -> None:
    bank = small().bfloat16()
    output, state = bank(torch.randn(1, 3, DIM).bfloat16(), bank.init_state(1, dtype=torch.float32))
    assert output.dtype == torch.bfloat16
    assert state.items.dtype == torch.float32


def test_gradients_cross_segments_only_where_wanted() -> None:
    for detach in ("never", "stored"):
        bank, first = small(detach=detach, suppression=None), torch.randn(1, 2, DIM, requires_grad=True)
        _, state = bank(first, bank.init_state(1))
        output, _ = bank(torch.randn(1, 2, DIM), state)
        (gradient,) = torch.autograd.grad(output.sum(), first, allow_unused=True)
        assert (gradient is not None) is (detach == "never")


def test_suppression_leaves_the_strongest_key_and_no_key_it_may_not_see() -> None:
    logits = torch.tensor([[3.0, 0.0, 0.1, -torch.inf], [1.0, -torch.inf, -torch.inf, -torch.inf]])
    kept = suppress_weak_attention(logits, 0.5).isfinite()
    assert kept.tolist() == [[True, False, False, False], [True, False, False, False]]


@pytest.mark.parametrize("scale", [0.0, 0.5])
def test_equal_keys_are_all_kept(scale: float) -> None:
    for number in range(1, 200):
        assert suppress_weak_attention(torch.zeros(number), scale).isfinite().all(), number


def test_shifted_windows_are_full_as_soon_as_there_are_enough_frames() -> None:
    for length in range(30):
        for left, right in ((0, 0), (2, 3), (9, 1)):
            windows = context_windows(length, 4, left, right)
            assert [window.segment_start for window in windows] == list(range(0, length, 4))
            assert {window.stop - window.start for window in windows} <= {min(length, left + 4 + right)}


@pytest.mark.parametrize("shift", SHIFTS.values(), ids=SHIFTS.keys())
def test_segments_together_keep_every_output_once(shift: tuple[str, ...]) -> None:
    for length in range(40):
        windows = context_windows(length, 8, 4, 4, shift=shift)  # type: ignore[arg-type]
        assert sum(len(window.kept(stride=4)) for window in windows) == math.ceil(length / 4)


def test_impossible_sizes_and_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="segment_length of at least 1, got 8, 0, 0 and 0"):
        context_windows(8, 0)
    # A TypeError where the tests check types, a ValueError where nobody does.
    with pytest.raises((ValueError, TypeError), match="middle"):
        context_windows(8, 4, shift=("middle",))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_heads must divide dim, got dim=4, num_heads=3"):
        SummaryBank(DIM, num_heads=3)
    with pytest.raises(ValueError, match="capacity must be at least 1, got 0"):
        SummaryBank(DIM, capacity=0)
    with pytest.raises(ValueError, match="max_distance must be at least 0"):
        SummaryBank(DIM, max_distance=-1)


def test_weights_of_something_else_are_refused() -> None:
    with pytest.raises(ValueError, match=r"lack 'q_proj\.weight'"):
        summary_bank_from_official({})
    official = {f"{part}_proj.{kind}": torch.zeros(2) for part in ("q", "k", "v", "out") for kind in ("weight", "bias")}
    with pytest.raises(ValueError, match=r"unknown weights \['fc1.weight'\]"):
        summary_bank_from_official({**official, "fc1.weight": torch.zeros(2)})


# Parity with the released code. Its tensors are [time batch dim].


def cases(prefix: str) -> list[object]:
    return [pytest.param(case, id=case.name) for case in golden_cases("speech", FOLDER / "speech", prefix=prefix)]


def part(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("d1_"))
def test_attention_equals_the_released_one(case: GoldenCase) -> None:
    sizes = case.config
    bank = SummaryBank(
        sizes["dim"],
        num_heads=sizes["heads"],
        capacity=sizes["max_memory"] if sizes["max_memory"] > 0 else max(sizes["memories_in"]) + 1,  # -1 and 0 keep all
        max_distance=sizes["max_relative_position"],
        suppression=sizes["std_scale"],
    )
    bank.load_state_dict(summary_bank_from_official(case.state))
    for index, number in enumerate(sizes["memories_in"]):
        tokens = case.inputs[f"case{index}.x_and_summary"].transpose(0, 1)
        start = bank.init_state(sizes["batch"])
        if number:
            start = start.append(case.inputs[f"case{index}.memory"].transpose(0, 1))
        nothing = torch.zeros(tokens.shape[0], tokens.shape[1] - 1, dtype=torch.bool)
        output, summary = bank.attention(tokens[:, :-1], tokens[:, -1], start, nothing)
        case.assert_output(f"case{index}.output", output.transpose(0, 1))
        # The released bank is cut to its size at the next read; until then it holds what ours forgets right away.
        after = torch.cat([start.ordered()[:, : int(start.count[0])], summary[:, None]], dim=1)
        case.assert_output(f"case{index}.memory_after", after.transpose(0, 1))
    suppressed = suppress_weak_attention(case.inputs["suppression.scores"], sizes["std_scale"])
    case.assert_output("suppression.scores", suppressed)


class Layer(nn.Module):
    """A pre-norm block around the bank."""

    def __init__(self, sizes: dict[str, int], capacity: int, weights: dict[str, Tensor]) -> None:
        super().__init__()
        dim, hidden = sizes["encoder_embed_dim"], sizes["encoder_ffn_embed_dim"]
        distance = sizes["max_relative_position"]
        self.bank = SummaryBank(
            dim, num_heads=sizes["encoder_attention_heads"], capacity=capacity, max_distance=distance
        )
        self.bank.load_state_dict(summary_bank_from_official(part(weights, "self_attn.")))
        self.self_attn_layer_norm, self.final_layer_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        for name in ("self_attn_layer_norm", "final_layer_norm", "fc1", "fc2"):
            getattr(self, name).load_state_dict(part(weights, f"{name}."))

    def forward(self, x: Tensor, state: RingBuffer, center: Tensor) -> tuple[Tensor, RingBuffer]:
        found, state = self.bank(self.self_attn_layer_norm(x), state, center=center)
        x = x + found
        return x + self.fc2(self.fc1(self.final_layer_norm(x)).relu()), state


class Encoder(nn.Module):
    """The released encoder: a convolution that restarts in every window, then blocks with a bank each."""

    stride = 4

    def __init__(self, case: GoldenCase) -> None:
        super().__init__()
        sizes, channels = case.config, case.config["conv_out_channels"]
        weights = part(case.state, "module.")
        self.sizes = sizes
        self.conv = nn.Sequential(
            nn.Conv2d(1, channels, 3, 2, 1), nn.ReLU(), nn.Conv2d(channels, channels, 3, 2, 1), nn.ReLU()
        )
        self.conv.load_state_dict(part(weights, "conv."))
        self.out = nn.Linear(weights["out.weight"].shape[1], sizes["encoder_embed_dim"])
        self.out.load_state_dict(part(weights, "out."))
        # -1 and 0 keep all summaries: as many as there are segments.
        capacity = sizes["max_memory_size"] if sizes["max_memory_size"] > 0 else sizes["frames"]
        numbers = range(sizes["encoder_layers"])
        self.layers = nn.ModuleList(
            Layer(sizes, capacity, part(weights, f"transformer_layers.{index}.")) for index in numbers
        )

    def subsample(self, frames: Tensor, lengths: Tensor) -> Tensor:
        hidden = self.conv(frames[:, None]).transpose(1, 2).flatten(2)
        x = self.out(hidden) * math.sqrt(self.sizes["encoder_embed_dim"])
        return x if self.sizes["max_relative_position"] > 0 else x + self.positions(frames, x, lengths)

    def positions(self, frames: Tensor, x: Tensor, lengths: Tensor) -> Tensor:
        """Sinusoids from index 2 on, none at what the released code takes for padding (one frame too few)."""
        time, half = x.shape[1], x.shape[2] // 2
        frequency = torch.exp(torch.arange(half) * -(math.log(10_000) / (half - 1)))
        angle = torch.arange(2, time + 2)[:, None] * frequency
        real = torch.arange(time) <= (lengths[:, None] / (frames.shape[1] / time)).ceil()
        return torch.cat([angle.sin(), angle.cos()], dim=-1) * real[..., None]

    def forward(self, x: Tensor, states: list[RingBuffer], window: ContextWindow) -> tuple[Tensor, list[RingBuffer]]:
        kept = window.kept(self.stride)
        center = torch.zeros(x.shape[:2], dtype=torch.bool)
        center[:, kept.start : kept.stop] = True
        after = []
        for layer, state in zip(self.layers, states, strict=True):
            x, state = layer(x, state, center)  # noqa: PLW2901
            after.append(state)
        return x[:, kept.start : kept.stop], after

    def windows(self, length: int, flags: list[bool]) -> list[ContextWindow]:
        shift = [side for side, is_on in zip(("center", "right", "left"), flags, strict=True) if is_on]
        sizes = [self.sizes[name] for name in ("segment_size", "left_context", "right_context")]
        return context_windows(length, *sizes, shift=shift)  # type: ignore[arg-type]

    def encode(
        self, x: Tensor, flags: list[bool], lengths: list[Tensor] | None = None
    ) -> tuple[Tensor, list[RingBuffer]]:
        outputs = []
        states = [layer.bank.init_state(len(x)) for layer in self.layers]
        for index, window in enumerate(self.windows(x.shape[1], flags)):
            frames = x[:, window.start : window.stop]
            reported = torch.full((len(x),), frames.shape[1]) if lengths is None else lengths[index]
            output, states = self(self.subsample(frames, reported), states, window)
            outputs.append(output)
        return torch.cat(outputs, dim=1), states


FLAGS = "flags (center,right,left)"
ENCODERS = [
    pytest.param(case, name, id=f"{case.name}-{name}")
    for case in golden_cases("speech", FOLDER / "speech", prefix="d")
    if not case.name.startswith("d1_")
    for name in case.config[FLAGS]
]


@pytest.mark.golden
@pytest.mark.parametrize(("case", "name"), ENCODERS)
def test_encoder_around_the_bank_equals_the_released_one(case: GoldenCase, name: str) -> None:
    encoder, x, flags = Encoder(case), case.inputs["src_tokens"], case.config[FLAGS][name]
    expected = part(case.outputs, f"{name}.")
    windows = encoder.windows(x.shape[1], flags)
    for index, window in enumerate(windows):
        case.assert_output(f"{name}.seg{index}.input_frames", x[:, window.start : window.stop])
        case.assert_output(f"{name}.seg{index}.left_right", torch.tensor([window.left, window.right]))
    x = x.clone().requires_grad_()
    output, states = encoder.encode(x, flags, [expected[f"seg{index}.lengths"] for index in range(len(windows))])
    case.assert_output(f"{name}.encoder_out", output.transpose(0, 1))
    pieces = output.split([len(window.kept(encoder.stride)) for window in windows], dim=1)
    for index, piece in enumerate(pieces):
        case.assert_output(f"{name}.seg{index}.output", piece.transpose(0, 1))
    for index, state in enumerate(states):
        number = int(state.count[0])
        newest = expected[f"memory_bank.layer{index}"][-number:].transpose(0, 1)
        assert_close(state.ordered()[:, :number], newest, atol=case.tolerance, rtol=case.tolerance)
    if f"{name}.grad_x_of_last_frame_sum" in case.outputs:
        (gradient,) = torch.autograd.grad(output[:, -1].sum(), x)
        case.assert_output(f"{name}.grad_x_of_last_frame_sum", gradient)


@pytest.mark.golden
@pytest.mark.parametrize(("case", "name"), ENCODERS)
def test_encoder_of_a_prefix_equals_the_released_one(case: GoldenCase, name: str) -> None:
    encoder, flags = Encoder(case), case.config[FLAGS][name]
    prefixes = [key for key in case.outputs if key.startswith(f"{name}.prefix")]
    assert prefixes
    for key in prefixes:
        length = int(key.removeprefix(f"{name}.prefix").removesuffix(".encoder_out"))
        output, _ = encoder.encode(case.inputs["src_tokens"][:1, :length], flags)
        case.assert_output(key, output.transpose(0, 1))


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("e_"))
def test_windows_equal_the_released_layouts(case: GoldenCase) -> None:
    for layout in case.info["layouts"]:
        windows = context_windows(
            layout["frames"], layout["segment"], layout["left"], layout["right"], shift=SHIFTS[layout["flags"]]
        )
        for window, segment in zip(windows, layout["segments"], strict=True):
            frames = [frame for start, stop in segment["ranges"] for frame in range(start, stop)]
            assert frames == list(range(window.start, window.stop)), layout
            assert (window.left, window.right) == (segment["left"], segment["right"])
            assert len(window.kept(stride=4)) == segment["kept"]
