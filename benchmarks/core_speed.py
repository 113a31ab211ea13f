"""Mechanisms of the core against plain forms of the same computations, all in one run.

``python benchmarks/core_speed.py [--device cuda] [--threads 2] [--only NAME ...] [--write]`` prints a table and one
JSON object; ``--write`` also keeps the JSON in ``benchmarks/results/core_speed.json``. What is compared takes turns in
one process, so that ratios hold on a noisy machine; results are compared before anything is timed. The peak memory of
replay is read from ``replay_memory.json``, which ``replay_memory.py --write`` makes.
"""

import argparse
import json
import platform
import shutil
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common.report import machine
from references import core as plain
from torch import Tensor, nn
from torch.testing import assert_close

from mnemic_core import MemoryConfig
from mnemic_core.buffers import RelativeAttention
from mnemic_core.buffers.relative_attention import relative_sinusoids
from mnemic_core.machines import StackCell, convert_official_turing
from mnemic_core.parametric import ProductKeyMemory
from mnemic_core.stores import ExactIndex, running_top_k

RESULTS = Path(__file__).parent / "results"
RESULT = RESULTS / "core_speed.json"
LEAST_SECONDS = 0.02  # shorter calls are repeated within a turn

Calls = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Comparison:
    """A line of the table: ``ours`` against another call of the same measurement.

    Attributes:
        what: what is compared, with its sizes.
        reference: name of the other call.
        target: how many times faster ours must be; where ``is_limit``, how many times longer it may take.
        is_limit: whether the reference does less than ours, so that the target bounds ours from above.
        ours: name of our call.
    """

    what: str
    reference: str
    target: float
    is_limit: bool = False
    ours: str = "ours"

    def line(self, seconds: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
        """Return the line for measured times."""
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
    """Calls that take turns, what to compare of them, and how well their results agree."""

    calls: Calls
    comparisons: list[Comparison]
    agreement: dict[str, float] = field(default_factory=dict)


def product_keys(device: str) -> Measurement:
    """Return the product-key layer at the setting of its paper, 1024 tokens, without gradients."""
    memory, x = ProductKeyMemory(1024).to(device), torch.randn(1024, 1024, device=device)
    memory.requires_grad_(False)
    (weights, slots), (plain_weights, plain_slots) = memory.select(x), plain.recall_slots(memory, x)
    output = plain.recall_values(memory, plain_weights, plain_slots)
    assert_close(memory(x), output)
    assert_close(weights, plain_weights)
    # Two ways of rounding a product can swap slots whose scores are equal but for the last digit, and nothing else.
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
            "its products and its sum of values, nothing selected": unavoidable,
        },
        [Comparison("product keys: 1024 tokens, 512 x 512 slots of 1024, 4 heads, k 32", "official algorithm", 2.5)],
        {
            "share_of_equal_slots": float((slots == plain_slots).double().mean()),
            "largest_difference_of_true_scores": float(apart.abs().max()),
            "largest_difference_of_outputs": float((memory(x) - output).abs().max()),
        },
    )


def exact_search(device: str) -> Measurement:
    """Return the exact search of 512 queries among 262,144 keys of width 64."""
    keys, query, k = torch.randn(262_144, 64, device=device), torch.randn(512, 64, device=device), 32
    index = ExactIndex(64, device=device)
    index.add(keys)
    (scores, found), best = index.search(query, k), (query @ keys.T).topk(k)
    assert_close(scores, best.values)
    columns, block = query.T.contiguous(), running_top_k.BLOCK_SCORES // len(query)
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

    def fast() -> tuple[Tensor, ...]:
        return _result(machine(x, state)[0], x)

    def loop() -> tuple[Tensor, ...]:
        return _result(plain.run_turing_loop(official, x, slots, is_full=preset == "paper"), x)

    def steps() -> tuple[Tensor, ...]:
        outputs, now = [], state
        for frame in x.unbind(1):
            output, now = machine.step(frame, now)
            outputs.append(output)
        return _result(torch.stack(outputs, 1), x)

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

    torch.compiler.reset()
    # In a single step the call itself takes as long as the kernels: Inductor's wrapper in C++ is the faster one.
    options = {"cpp_wrapper": True} if device == "cpu" else {}
    compiled = compare(torch.compile(machine, options=options), torch.compile(machine.step, options=options))
    eager = compare(machine, machine.step)
    assert_close(compiled(), eager(), atol=1e-5, rtol=1e-4)
    what = f"Stack-RNN, compiled against eager: hidden 256, 30 x 8, batch 1, {tokens} token{'s' * (tokens > 1)}"
    return Measurement({"ours": compiled, "eager": eager}, [Comparison(what, "eager", 3.0)])


MEASUREMENTS: dict[str, Callable[[str], Measurement]] = {
    "product_keys": product_keys,
    "exact_search": exact_search,
    "turing_forward_1": partial(turing, preset="paper", batch=1, is_training=False),
    "turing_forward_16": partial(turing, preset="paper", batch=16, is_training=False),
    "turing_backward_1": partial(turing, preset="paper", batch=1, is_training=True),
    "turing_backward_16": partial(turing, preset="paper", batch=16, is_training=True),
    "collapsed_forward_1": partial(turing, preset="release", batch=1, is_training=False),
    "collapsed_forward_16": partial(turing, preset="release", batch=16, is_training=False),
    "collapsed_backward_1": partial(turing, preset="release", batch=1, is_training=True),
    "collapsed_backward_16": partial(turing, preset="release", batch=16, is_training=True),
    "relative_attention": relative_attention,
    "stack_step": partial(stack_machine, tokens=1),
    "stack_segment": partial(stack_machine, tokens=32),
}


def time_in_turn(calls: Calls, repetitions: int, device: str) -> dict[str, dict[str, float]]:
    """Return median and least seconds of each call; they take turns, after two rounds that do not count."""
    rounds = dict.fromkeys(calls, 1)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(-2, repetitions):
        for name, call in calls.items():
            seconds = _seconds(call, rounds[name], device)
            rounds[name] = max(1, round(LEAST_SECONDS / seconds)) if turn < 0 else rounds[name]
            if turn >= 0:
                times[name].append(seconds)
    return {name: {"median_s": statistics.median(row), "least_s": min(row)} for name, row in times.items()}


def measure(name: str, repetitions: int, device: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the lines of the table that a measurement gives, and all that was measured."""
    torch.manual_seed(0)
    measurement = MEASUREMENTS[name](device)
    seconds = time_in_turn(measurement.calls, repetitions, device)
    lines = [comparison.line(seconds) for comparison in measurement.comparisons]
    return lines, {"seconds": seconds, "agreement": measurement.agreement}


def replay_line() -> list[dict[str, Any]]:
    """Return the line on replay, from its own benchmark; none if that has not been kept."""
    path = RESULTS / "replay_memory.json"
    if not path.exists():
        return []
    kept = json.loads(path.read_text())
    ratio = kept["ratios"]["saved_bytes_bptt_over_replay"]
    return [
        {
            "what": f"peak of saved tensors, replay of {kept['config']['segments']} segments (replay_memory.json)",
            "reference": "back-propagation through all segments",
            "ratio": ratio,
            "target": "at least 4.0",
            "reached": ratio >= 4,
        }
    ]


def table(lines: list[dict[str, Any]]) -> str:
    """Return the lines as a Markdown table."""
    rows = ["| what | ours, ms | against | ms | ratio | target | reached |", "|---|---|---|---|---|---|---|"]
    for line in lines:
        ours, reference = (f"{line[name]:.3g}" if name in line else "" for name in ("ours_ms", "reference_ms"))
        ends = f"{line['ratio']:.2f} | {line['target']} | {'yes' if line['reached'] else 'no'}"
        rows.append(f"| {line['what']} | {ours} | {line['reference']} | {reference} | {ends} |")
    return "\n".join(rows)


def main() -> None:
    """Measure, print, and with --write keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--only", nargs="+", choices=list(MEASUREMENTS), default=list(MEASUREMENTS), metavar="NAME")
    parser.add_argument("--write", action="store_true", help=f"keep the result in {RESULT.name}")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    names, left_out = list(options.only), {}
    if not (shutil.which("g++") or shutil.which("clang++")):
        left_out = {name: "no C++ compiler on this machine" for name in names if name.startswith("stack")}
    measured = {name: measure(name, options.repetitions, options.device) for name in names if name not in left_out}
    lines = [line for lines, _ in measured.values() for line in lines] + replay_line()
    document = {
        "benchmark": "core_speed",
        "config": vars(options),
        "table": lines,
        "measured": {name: details for name, (_, details) in measured.items()} | left_out,
        "machine": machine(options.device),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    print(table(lines), json.dumps(document, indent=2), sep="\n\n")
    if options.write:
        RESULTS.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps(document, indent=2) + "\n")


def _seconds(call: Callable[[], object], rounds: int, device: str) -> float:
    """Return the wall time of one of so many calls."""
    start = time.perf_counter()
    for _ in range(rounds):
        call()
    if device != "cpu":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / rounds


def _result(output: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    """Return the output, and where gradients are wanted that of the frames, after adding those of parameters."""
    if not x.requires_grad:
        return (output,)
    x.grad = None
    output.square().sum().backward()
    assert x.grad is not None
    return output.detach(), x.grad


def _true_scores(memory: ProductKeyMemory, x: Tensor, slots: Tensor) -> Tensor:
    """Return the scores of selected slots in double precision, [token head k]."""
    halves = memory.query(x).unflatten(-1, (2, -1)).double()
    first, second = torch.einsum("thpd,hpnd->pthn", halves, memory.keys.double())
    scores: Tensor = first.gather(-1, slots // memory.sub_keys) + second.gather(-1, slots % memory.sub_keys)
    return scores


if __name__ == "__main__":
    main()
