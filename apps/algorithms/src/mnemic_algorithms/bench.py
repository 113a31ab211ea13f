"""Cost measurements of the memories of the catalogue."""

from collections.abc import Sequence
from typing import Any

import torch

from mnemic_algorithms.measure import measure
from mnemic_core import MemoryConfig, SegmentMemory, Sizes, TransformerConfig, build_transformer, list_mechanisms
from mnemic_core.errors import UserError
from mnemic_core.markdown import markdown_table
from mnemic_core.slots.model_adapter import HostModel
from mnemic_core.transformer import STACK_ADAPTER


def choose(names: Sequence[str]) -> list[str]:
    """Return the names of the mechanisms to measure, all that carry a state by default.

    Raises:
        UserError: if one of them is unknown or carries no state.
    """
    recurrent = [entry.name for entry in list_mechanisms() if entry.is_recurrent]
    wrong = [name for name in names if name not in recurrent]
    if wrong:
        raise UserError(f"mechanisms that carry a state are {', '.join(recurrent)}; got {', '.join(wrong)}")
    return list(names) or recurrent


def build_memory(name: str, sizes: Sizes) -> SegmentMemory[Any]:
    """Return a memory that stores about as many vectors as the sizes say; the host of one that needs it is small."""
    config = MemoryConfig(name)
    # Memories that wrap no model ignore it.
    host = build_transformer(TransformerConfig(sizes.dim, sizes.num_layers, sizes.num_heads, 4 * sizes.dim))
    sized = MemoryConfig(name, config.mechanism.sized(sizes))
    return sized.build(sizes.dim, HostModel(host, STACK_ADAPTER))


def bench_one(name: str, sizes: Sizes, segments: int, batch: int, device: torch.device) -> dict[str, Any]:
    """Measure one mechanism."""
    torch.manual_seed(0)  # before each, so that weights do not depend on which mechanisms are measured
    memory = build_memory(name, sizes)
    return measure(memory, segment_length=sizes.segment_length, segments=segments, batch=batch, device=device)


def bench_table(results: dict[str, dict[str, Any]]) -> str:
    """Return the measurements as a Markdown table; ratios are end over beginning of the stream."""
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
