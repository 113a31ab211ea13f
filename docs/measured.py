"""What was measured: of every mechanism benchmark, proofs and the comparison on text, and speed against plain forms."""

import json
from pathlib import Path
from typing import Any

from mnemic_core import Mechanism, list_mechanisms
from mnemic_core.markdown import markdown_table

_HEAD = (
    *("name", "ms a segment", "its growth", "peak KiB", "its growth", "recall (tokens)"),
    *("copy solved", "recall solved", "bits per byte"),
)
_MISSING = "not run"


def measured_table(results: Path, proofs: Path) -> str:
    """Return a row for every mechanism with a state or a place in a network; a cell that nothing filled says so.

    Args:
        results: folder with ``mechanisms/bench.json`` and ``text/compare.json``.
        proofs: folder with the results of the proofs.
    """
    costs, text = _load(results / "mechanisms/bench.json"), _load(results / "text/compare.json")
    rows = []
    for mechanism in list_mechanisms():
        cells = [
            *_cost_cells(costs.get("results", {}).get(mechanism.name)),
            *(_solved(proofs / f"{task}_{mechanism.name}.json") for task in ("copy", "associative_recall")),
            _bits(text.get("scores", {}).get("validation", {}).get(mechanism.name)),
        ]
        if _is_measured(mechanism):
            rows.append([f"`{mechanism.name}`", *cells])
    return markdown_table(_HEAD, rows)


def bench_facts(results: Path) -> str:
    """Return machine, versions and sizes of the benchmark, in words."""
    found = _load(results / "mechanisms/bench.json")
    machine, versions, config = found["machine"], found["versions"], found["config"]
    return (
        f"{machine['device']}, {machine['threads']} thread, PyTorch {versions['torch']}; batch {config['batch']}, "
        f"{config['segments']} segments of {config['segment_length']} tokens of width {config['dim']}, "
        f"{config['stored']} vectors stored"
    )


def speed_table(results: Path) -> str:
    """Return a row for every comparison of ``core_speed.json``: times of both, their ratio and what it is aimed at."""
    rows = []
    for line in _load(results / "core_speed.json")["table"]:
        times = (f"{line[name]:.3g}" if name in line else "" for name in ("ours_ms", "reference_ms"))
        aim = line["target"] if line["reached"] else f"{line['target']}: missed"
        rows.append([line["what"], *times, line["reference"], f"{line['ratio']:.2f}", aim])
    return markdown_table(("what", "ms", "ms of the other", "the other", "ratio", "aim"), rows)


def speed_facts(results: Path) -> str:
    """Return the machine of the speed table, in words."""
    found = _load(results / "core_speed.json")
    machine = found["machine"]
    return (
        f"{machine['processor']} with {machine['cpu_capability']}, {machine['threads']} threads, "
        f"PyTorch {found['versions']['torch']}, {machine['gpu']}"
    )


def _is_measured(mechanism: Mechanism) -> bool:
    return mechanism.is_recurrent or mechanism.place == "layer"


def _cost_cells(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return [_MISSING] * 5
    last = found["stream"][-1]
    reach = f"{'≥ ' if found['recall_reaches_start'] else ''}{found['recall_distance']}"
    times = [f"{1e3 * last['seconds']:.2f}", f"{found['time_ratio']:.2f}"]
    return [*times, f"{last['peak_bytes'] / 1024:.0f}", f"{found['memory_ratio']:.2f}", reach]


def _solved(path: Path) -> str:
    if not path.exists():
        return _MISSING
    found = _load(path)
    return f"{found['solved']} of {len(found['seeds'])}"


def _bits(cells: dict[str, Any] | None) -> str:
    return f"{cells['bits_per_byte']['mean']:.3f}" if cells else _MISSING


def _load(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())) if path.exists() else {}
