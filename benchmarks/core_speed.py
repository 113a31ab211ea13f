"""Mechanisms of the core against plain forms of the same computations, in one run.

Compared calls take turns in one process; their results are compared before they are timed. The peak memory of replay is
read from ``replay_memory.json``, which ``replay_memory.py --write`` makes.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Annotated, Any

import torch
from common.report import RESULTS, run
from common.timing import Calls, time_in_turn
from jaxtyping import Float, Int
from references import core as plain
from torch import Tensor, nn
from torch.testing import assert_close

from mnemic_core import MemoryConfig
from mnemic_core.buffers import RelativeAttention
from mnemic_core.buffers.relative_attention import relative_sinusoids
from mnemic_core.machines import StackCell, convert_official_turing
from mnemic_core.markdown import markdown_table
from mnemic_core.parametric import ProductKeyMemory
from mnemic_core.stores import ExactIndex, running_top_k
from mnemic_kit.parse import OneOf

Result = tuple[Float[Tensor, "batch time dim"], ...]


@dataclass(frozen=True)
class Comparison:
    """A row of the table: our call against another call of the same measurement.

    Attributes:
        what: description with sizes.
        reference: name of the other call.
        target: smallest speed-up of ours; with ``is_limit``, largest slow-down.
        is_limit: whether the reference does less work than ours, so that the target is an upper bound.
        ours: name of our call.
    """

    what: str
    reference: str
    target: float
    is_limit: bool = False
    ours: str = "ours"

    def line(self, seconds: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
        """Return the row for measured times."""
        ours, reference = seconds[self.ours], seconds[self.reference]
        ratios = {}
        for kind in ("median_s", "least_s"):
            ratio = ours[kind] / reference[kind] if self.is_limit else reference[kind] / ours[kind]
            ratios[kind] = round(ratio, 3)
        reached = ratios["median_s"] <= self.target if self.is_limit else ratios["median_s"] >= self.target
        return {
            "what": self.what,
            "reference": self.reference,
            "ours_ms": round(1e3 * ours["median_s"], 3),
            "reference_ms": round(1e3 * reference["median_s"], 3),
            "ratio": ratios["median_s"],
            "ratio_of_least": ratios["least_s"],
            "target": f"at most {self.target}" if self.is_limit else f"at least {self.target}",
            "reached": reached,
        }


@dataclass(frozen=True)
class Measurement:
    """Calls that take turns, the comparisons between them, and how well their results agree."""

    calls: Calls
    comparisons: list[Comparison]
    agreement: dict[str, float] = field(default_factory=dict)


def product_keys(device: str) -> Measurement:
    """Return the product-key layer with the sizes of its paper, 1024 tokens, without gradients."""
    memory, x = ProductKeyMemory(1024).to(device), torch.randn(1024, 1024, device=device)
    memory.requires_grad_(False)  # as the official code in evaluation
    (weights, slots), (plain_weights, plain_slots) = memory.select(x), plain.recall_slots(memory, x)
    output = plain.recall_values(memory, plain_weights, plain_slots)
    assert_close(memory(x), output)
    assert_close(weights, plain_weights)
    # Rounding may swap slots whose scores differ in the last digit, but no others.
    apart = _true_scores(memory, x, slots) - _true_scores(memory, x, plain_slots)
    assert_close(apart, torch.zeros_like(apart), atol=1e-6, rtol=0)

    def unavoidable() -> None:
        halves = memory.query(x).unflatten(-1, (2, -1)).permute(1, 2, 0, 3)
        torch.matmul(halves, memory.keys.mT)
        plain.recall_values(memory, plain_weights, plain_slots)

    return Measurement(
        {
            "ours": lambda: memory(x),
            "official algorithm": lambda: plain.recall_values(memory, *plain.recall_slots(memory, x)),
            "its products and its sum of values, without selection": unavoidable,
        },
        [Comparison("product keys: 1024 tokens, 512 x 512 slots of 1024, 4 heads, k 32", "official algorithm", 2.5)],
        {
            "share_of_equal_slots": float((slots == plain_slots).double().mean()),
            "largest_difference_of_true_scores": float(apart.abs().max()),
            "largest_difference_of_outputs": float((memory(x) - output).abs().max()),
        },
    )


def exact_search(device: str) -> Measurement:
    """Return the exact search of 512 queries over 262,144 keys of width 64."""
    keys, query, k = torch.randn(262_144, 64, device=device), torch.randn(512, 64, device=device), 32
    index = ExactIndex(64, device=device)
    index.add(keys)
    (scores, found), best = index.search(query, k), (query @ keys.T).topk(k)
    assert_close(scores, best.values)
    columns, block = query.T.contiguous(), running_top_k.BLOCK_ROWS
    # The least that any exact search has to do: all products, into memory that is reused.
    buffer = torch.empty(block, len(query), device=device)

    def products() -> None:
        for part in keys.split(block):
            torch.mm(part, columns, out=buffer[: len(part)])

    what = "exact search: top 32 of 262,144 x 64 for 512 queries"
    return Measurement(
        {
            "ours": lambda: index.search(query, k),
            "one product and topk": lambda: (query @ keys.T).topk(k),
            "products alone, block by block": products,
        },
        [
            Comparison(what, "one product and topk", 1.5),
            Comparison(what, "products alone, block by block", 2.0, is_limit=True),
        ],
        {"recall": float((found[..., None] == best.indices[:, None]).any(-1).double().mean())},
    )


def turing(device: str, preset: str, batch: int, *, is_training: bool) -> Measurement:
    """Return a Neural Turing Machine of the released size over 250 frames (10 s of speech)."""
    slots, width, dim = 256, 10, 256
    sizes = {"read_heads.0.fc": width + 6, "write_heads.0.fc": 3 * width + 6, "fc": dim}
    layers = nn.ModuleDict({name.replace(".", "/"): nn.Linear(dim + width, size) for name, size in sizes.items()})
    layers.to(device).requires_grad_(is_training)
    official = {name.replace("/", "."): weight for name, weight in layers.named_parameters()}
    machine = MemoryConfig(f"turing_{preset}").build(dim).to(device).requires_grad_(is_training)
    machine.load_state_dict(convert_official_turing(official))
    x, state = torch.randn(batch, 250, dim, device=device), machine.init_state(batch, device=device)
    x.requires_grad_(is_training)

    def fast() -> Result:
        return _result(machine(x, state)[0], x)

    def loop() -> Result:
        return _result(plain.run_turing_loop(official, x, slots, is_full=preset == "paper"), x)

    def steps() -> Result:
        outputs, now = [], state
        for frame in x.unbind(1):
            output, now = machine.step(frame, now)
            outputs.append(output)
        return _result(torch.stack(outputs, 1), x)

    # In single precision the loop accumulates rounding errors over 250 frames.
    differences = [float((a - b).abs().max()) for a, b in zip(fast(), loop(), strict=True)]
    for ours, reference in zip(fast(), loop(), strict=True):
        assert_close(ours, reference, atol=1e-4, rtol=1e-3)
    passes = "forward and backward" if is_training else "forward"
    what = (
        f"NTM, {'full addressing' if preset == 'paper' else 'collapsed'}: 250 frames, 256 x 10, batch {batch}, {passes}"
    )
    names = ("outputs", "gradient_of_frames")
    return Measurement(
        {"ours": fast, "released loop": loop, "the module's own steps": steps},
        [Comparison(what, "released loop", 5.0)],
        {f"largest_difference_of_{name}": value for name, value in zip(names, differences, strict=False)},
    )


def relative_attention(device: str) -> Measurement:
    """Return the attention of a Transformer-XL layer with a memory of 1600 tokens."""
    layer, capacity, time_ = RelativeAttention(512, num_heads=8).to(device).requires_grad_(False), 1600, 128
    x, memory = torch.randn(1, time_, 512, device=device), torch.randn(1, capacity, 512, device=device)
    count, biases = torch.tensor([capacity], device=device), 0.1 * torch.randn(2, 8, 64, device=device)
    keys = torch.arange(capacity + time_, device=device)
    bias = torch.where(keys[capacity:, None] >= keys, 0.0, -torch.inf)
    position = relative_sinusoids(keys.flip(0).float(), 512)
    no_position = RelativeAttention(512, num_heads=8).to(device).requires_grad_(False)
    no_position.load_state_dict(layer.state_dict() | {"position.weight": torch.zeros_like(layer.position.weight)})
    without = no_position(x, memory, count, torch.zeros_like(biases))
    assert_close(without, plain.attend(layer, x, memory, bias, None), atol=1e-5, rtol=1e-4)
    # Without positions both compute the same; only then can results be compared.
    what = "XL attention: 128 tokens, memory 1600, 8 x 64, batch 1"
    fewer, all_four = "SDPA and four projections (q, k, v, output)", "SDPA and all five projections (positions too)"
    return Measurement(
        {
            "ours": lambda: layer(x, memory, count, biases),
            fewer: lambda: plain.attend(layer, x, memory, bias, None),
            all_four: lambda: plain.attend(layer, x, memory, bias, position),
        },
        [Comparison(what, all_four, 1.3, is_limit=True), Comparison(what, fewer, 1.3, is_limit=True)],
        {
            "largest_difference_without_positions": float(
                (without - plain.attend(layer, x, memory, bias, None)).abs().max()
            )
        },
    )


def stack_machine(device: str, tokens: int) -> Measurement:
    """Return the Stack-RNN of the paper's size, one row, compiled against eager."""
    machine = StackCell(8, hidden_dim=256).to(device).requires_grad_(False)
    x, state = torch.randn(1, tokens, 8, device=device), machine.init_state(1, device=device)

    def compare(segment: Callable[..., Any], step: Callable[..., Any]) -> Callable[[], Tensor]:
        return lambda: segment(x, state)[0] if tokens > 1 else step(x[:, 0], state)[0]

    torch.compiler.reset()  # drop what earlier measurements compiled
    # In a single step the overhead of the call is as long as the kernels; Inductor's C++ wrapper has less of it.
    options = {"cpp_wrapper": True} if device == "cpu" else {}
    compiled = compare(torch.compile(machine, options=options), torch.compile(machine.step, options=options))
    eager = compare(machine, machine.step)
    assert_close(compiled(), eager(), atol=1e-5, rtol=1e-4)
    what = f"Stack-RNN, compiled against eager: hidden 256, 30 x 8, batch 1, {tokens} token{'s' * (tokens > 1)}"
    return Measurement({"ours": compiled, "eager": eager}, [Comparison(what, "eager", 3.0)])


MEASUREMENTS: dict[str, Callable[[str], Measurement]] = {
    "product_keys": product_keys,
    "exact_search": exact_search,
    **{
        f"{name}_{direction}_{batch}": partial(turing, preset=preset, batch=batch, is_training=direction == "backward")
        for name, preset in (("turing", "paper"), ("collapsed", "release"))
        for direction, batch in product(("forward", "backward"), (1, 16))
    },
    "relative_attention": relative_attention,
    "stack_step": partial(stack_machine, tokens=1),
    "stack_segment": partial(stack_machine, tokens=32),
}


def measure(name: str, repetitions: int, device: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the rows of a measurement, and its times and agreement."""
    torch.manual_seed(0)
    measurement = MEASUREMENTS[name](device)
    seconds = time_in_turn(measurement.calls, repetitions, device, warm_ups=2)
    lines = [comparison.line(seconds) for comparison in measurement.comparisons]
    return lines, {"seconds": seconds, "agreement": measurement.agreement}


def replay_line() -> list[dict[str, Any]]:
    """Return the row on memory replay from the result of its own benchmark, if there is one."""
    path = RESULTS / "replay_memory.json"
    if not path.exists():
        return []
    kept = json.loads(path.read_text())
    ratio = kept["ratios"]["saved_bytes_bptt_over_replay"]
    what = f"peak of saved tensors, replay of {kept['config']['segments']} segments (replay_memory.json)"
    line = {"what": what, "reference": "back-propagation through all segments", "ratio": ratio}
    return [line | {"target": "at least 4.0", "reached": ratio >= 4}]


def table(lines: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    rows = []
    for line in lines:
        ours, reference = (f"{line[name]:.3g}" if name in line else "" for name in ("ours_ms", "reference_ms"))
        ends = [f"{line['ratio']:.2f}", line["target"], "yes" if line["reached"] else "no"]
        rows.append([line["what"], ours, line["reference"], reference, *ends])
    return markdown_table(("what", "ours, ms", "against", "ms", "ratio", "target", "reached"), rows)


def core_speed(
    device: str = "cpu",
    threads: int = 2,
    repetitions: int = 9,
    only: tuple[Annotated[str, OneOf(lambda: tuple(MEASUREMENTS))], ...] = (),
) -> dict[str, Any]:
    """Measure mechanisms of the core against plain forms of the same computations.

    Args:
        device: cpu or cuda.
        threads: CPU threads.
        repetitions: turns of each call.
        only: measurements to run; all by default.
    """
    torch.set_num_threads(threads)
    names, left_out = only or tuple(MEASUREMENTS), {}
    if not (shutil.which("g++") or shutil.which("clang++")):
        left_out = {name: "no C++ compiler on this machine" for name in names if name.startswith("stack")}
    measured = {name: measure(name, repetitions, device) for name in names if name not in left_out}
    lines = [line for lines, _ in measured.values() for line in lines] + replay_line()
    print(table(lines))
    return {
        "config": {"device": device, "threads": threads, "repetitions": repetitions, "only": names},
        "table": lines,
        "measured": {name: details for name, (_, details) in measured.items()} | left_out,
    }


def _result(output: Float[Tensor, "batch time dim"], x: Float[Tensor, "batch time dim"]) -> Result:
    """Return the output and, if the frames need one, their gradient."""
    if not x.requires_grad:
        return (output,)
    x.grad = None  # or it would accumulate over turns
    output.square().sum().backward()
    assert x.grad is not None
    return output.detach(), x.grad


def _true_scores(
    memory: ProductKeyMemory, x: Float[Tensor, "token dim"], slots: Int[Tensor, "token head k"]
) -> Float[Tensor, "token head k"]:
    """Return the scores of selected slots in double precision."""
    halves = memory.query(x).unflatten(-1, (2, -1)).double()
    first, second = torch.einsum("thpd,hpnd->pthn", halves, memory.keys.double())
    scores: Tensor = first.gather(-1, slots // memory.sub_keys) + second.gather(-1, slots % memory.sub_keys)
    return scores


if __name__ == "__main__":
    run(core_speed)
