"""Measurements of the mechanisms of the catalogue side by side."""

from collections.abc import Sequence
from typing import Any

import torch

from mnemic_algorithms.measure import measure
from mnemic_algorithms.sizes import build_memory
from mnemic_core import Sizes, list_mechanisms
from mnemic_core.errors import UserError
from mnemic_core.markdown import markdown_table


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
    torch.manual_seed(0)
    memory = build_memory(name, sizes)
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
