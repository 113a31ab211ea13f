"""``mnemic-algorithms bench``: what every memory costs per step, and how far back it recalls."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mnemic_algorithms.measure import POINTS, measure, one_thread
from mnemic_algorithms.output import dumps, machine_facts, markdown_table, show, write_json, write_text
from mnemic_algorithms.plots import can_plot, plot_costs
from mnemic_algorithms.sizes import Sizes, build_memory
from mnemic_core import list_mechanisms
from mnemic_core.errors import UserError
from mnemic_kit.devices import Device, find_device
from mnemic_kit.parse import call, join_lists


def bench(
    mechanism: Sequence[str] = (),
    dim: int = 32,
    stored: int = 32,
    segment_length: int = 16,
    segments: int = 64,
    batch: int = 4,
    device: Device = "cpu",
    out: Path = Path("runs/bench"),
    json: bool = False,
) -> None:
    """Measure memories over a stream: time and peak memory per step, state, throughput, recall distance.

    Weights are random: recall distance shows what a structure lets through, not what training would make of it. On a
    CPU one thread runs.

    Args:
        mechanism: names from the catalogue; all that carry a state by default.
        dim: width of tokens, a multiple of 8.
        stored: vectors, slots or tokens that a memory keeps, where it has such a number.
        segment_length: tokens of a segment, which is a step.
        segments: segments of the stream, a multiple of 8.
        batch: rows of the stream; recall distance has rows of its own.
        device: where to run.
        out: folder for bench.json, bench.md and bench.png; the last needs matplotlib.
        json: print one JSON object as the last line.
    """
    place = find_device(device)
    names = choose(mechanism)
    if min(dim, stored, segment_length, batch) < 1 or segments < 1 or segments % POINTS:
        raise UserError(
            f"dim, stored, segment_length and batch must be at least 1 and segments a multiple of {POINTS}, "
            f"got {dim}, {stored}, {segment_length}, {batch} and {segments}"
        )
    out.mkdir(parents=True, exist_ok=True)
    config = {"dim": dim, "stored": stored, "segment_length": segment_length, "segments": segments, "batch": batch}
    results = {}
    with one_thread():
        for name in names:
            results[name] = bench_one(name, Sizes(dim, stored, segment_length), segments, batch, place)
            show(f"{name}: {results[name]['tokens_per_second']:.0f} tokens per second")
        summary = {"benchmark": "mechanisms", **machine_facts(place), "config": config, "results": results}
    table = bench_table(results)
    show(f"\n{table}")
    write_json(out / "bench.json", summary)
    write_text(out / "bench.md", table)
    if can_plot():
        plot_costs(results, out / "bench.png")
    if json:
        show(dumps(summary))


def choose(names: Sequence[str]) -> list[str]:
    """Return the names of the mechanisms to measure.

    Raises:
        UserError: if one of them is unknown or carries no state.
    """
    recurrent = [entry.name for entry in list_mechanisms() if entry.is_recurrent]
    wrong = [name for name in names if name not in recurrent]
    if wrong:
        raise UserError(f"mechanisms that carry a state are {', '.join(recurrent)}; got {', '.join(wrong)}")
    return list(names) or recurrent


def bench_one(name: str, sizes: Sizes, segments: int, batch: int, device: torch.device) -> dict[str, Any]:
    """Return the measurements of one mechanism."""
    mechanism = next(entry for entry in list_mechanisms() if entry.name == name)
    torch.manual_seed(0)
    memory = build_memory(mechanism, sizes)
    return measure(memory, segment_length=sizes.segment_length, segments=segments, batch=batch, device=device)


def bench_table(results: dict[str, dict[str, Any]]) -> str:
    """Return the measurements as a Markdown table; ratios are the end of the stream over its beginning."""
    head = ("mechanism", "tokens/s", "ms/step", "ratio", "peak KiB/step", "ratio", "state B/row", "recall tokens")
    return markdown_table(head, [[name, *_cells(result)] for name, result in results.items()])


def _cells(result: dict[str, Any]) -> list[str]:
    last = result["stream"][-1]
    return [
        f"{result['tokens_per_second']:,.0f}",
        f"{1e3 * last['seconds']:.2f}",
        f"{result['time_ratio']:.2f}",
        f"{last['peak_bytes'] / 1024:.1f}",
        f"{result['memory_ratio']:.2f}",
        f"{result['state_bytes_per_row']:,.0f}",
        f"{'≥ ' if result['recall_reaches_start'] else ''}{result['recall_distance']}",
    ]


def main(program: str, arguments: list[str]) -> None:
    """Run the command line."""
    call(bench, program, join_lists(arguments, {"--mechanism"}))
