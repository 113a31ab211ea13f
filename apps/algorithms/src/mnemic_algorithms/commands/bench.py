"""``mnemic-algorithms bench``: cost per step and recall distance of every memory."""

from collections.abc import Sequence
from pathlib import Path

from mnemic_core.errors import UserError
from mnemic_kit.devices import Device, find_device
from mnemic_kit.made_files import check_outputs


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
    """Measure memories over a stream: time and peak memory per step, state size, throughput and recall distance.

    Weights are random: the recall distance is that of the structure, which training may not use. On a CPU with one
    thread.

    Args:
        mechanism: names from the catalogue; all that carry a state by default.
        dim: width of tokens, a multiple of 8.
        stored: vectors, slots or tokens that a memory stores, where it has such a size.
        segment_length: tokens per segment, which is a step.
        segments: segments of the stream, a multiple of 8.
        batch: rows of the stream; the recall distance uses its own rows.
        device: to run on.
        out: folder for bench.json, bench.md and bench.png, if matplotlib is installed.
        json: print one JSON object as the last line.
    """
    from mnemic_algorithms.bench import bench_one, bench_table, choose
    from mnemic_algorithms.measure import POINTS, machine_facts, one_thread
    from mnemic_algorithms.plots import plot_costs
    from mnemic_core import Sizes
    from mnemic_kit.figures import can_plot
    from mnemic_kit.output import show, show_json, write_text
    from mnemic_kit.record import open_record

    place = find_device(device)
    names = choose(mechanism)
    if min(dim, stored, segment_length, batch) < 1 or segments < 1 or segments % POINTS:
        raise UserError(
            f"dim, stored, segment_length and batch must be at least 1 and segments a multiple of {POINTS}, "
            f"got {dim}, {stored}, {segment_length}, {batch} and {segments}"
        )
    check_outputs(*(out / f"bench.{kind}" for kind in ("json", "md", "png")))
    config = {"dim": dim, "stored": stored, "segment_length": segment_length, "segments": segments, "batch": batch}
    options = config | {"mechanism": names, "device": device}
    record = open_record(out / "bench.json", "mnemic-algorithms", options, {})
    results = {}
    with one_thread():
        for name in names:
            results[name] = bench_one(name, Sizes(dim, stored, segment_length), segments, batch, place)
            show(f"{name}: {results[name]['tokens_per_second']:.0f} tokens per second")
        summary = {"benchmark": "mechanisms", **machine_facts(place), "config": config, "results": results}
    table = bench_table(results)
    show(f"\n{table}")
    record.write(summary)
    write_text(out / "bench.md", table)
    if can_plot():
        plot_costs(results, out / "bench.png")
    if json:
        show_json(summary)
