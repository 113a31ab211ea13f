"""Constructor arguments that make the memories of the catalogue comparable: about as many vectors stored in each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mnemic_core import Mechanism, TransformerConfig, WindowMemory, build_transformer
from mnemic_core.buffers.gated_fifo import GatedFifoMemory
from mnemic_core.buffers.neighbour_attention import NeighbourAttention
from mnemic_core.buffers.segment_memory import RelativeSegmentAttention, SegmentMemoryStack
from mnemic_core.buffers.segment_queue import SegmentQueue
from mnemic_core.buffers.summary_bank import SummaryBank
from mnemic_core.machines.stack_machine import StackCell
from mnemic_core.machines.tape_machine import TapeCell
from mnemic_core.machines.turing_memory import NeuralTuringMemory
from mnemic_core.memory import SegmentMemory
from mnemic_core.slots.gated_slot_encoder import GatedSlotConfig, GatedSlotEncoder
from mnemic_core.slots.hierarchical_memory import HierarchicalMemoryWrapper
from mnemic_core.slots.memory_tokens import MemoryTokenWrapper
from mnemic_core.slots.slot_attention_memory import SlotAttentionMemory
from mnemic_core.slots.surprise_memory import SurpriseMemory


@dataclass(frozen=True)
class Sizes:
    """What a memory is built for.

    Args:
        dim: width of tokens; a multiple of ``2 * num_heads``.
        stored: vectors, slots or tokens that a memory keeps, where it has such a number.
        segment_length: tokens of a segment.
        num_layers: layers of what is a whole model.
        num_heads: attention heads.
    """

    dim: int = 32
    stored: int = 32
    segment_length: int = 16
    num_layers: int = 1
    num_heads: int = 4


_OPTIONS: Mapping[Callable[..., Any], Callable[[Sizes], dict[str, Any]]] = {
    WindowMemory: lambda sizes: {"capacity": sizes.stored},
    RelativeSegmentAttention: lambda sizes: {"capacity": sizes.stored, "num_heads": sizes.num_heads},
    SegmentMemoryStack: lambda sizes: {
        "memory_lengths": (sizes.stored,) * sizes.num_layers,
        "num_heads": sizes.num_heads,
    },
    NeighbourAttention: lambda sizes: {
        "num_heads": sizes.num_heads,
        "capacity": sizes.stored,
        "window": sizes.segment_length,
        "k": min(8, sizes.stored),
    },
    GatedFifoMemory: lambda sizes: {
        "num_heads": sizes.num_heads,
        "capacity": sizes.stored,
        "chunk_length": sizes.segment_length,
    },
    SegmentQueue: lambda sizes: {
        "capacity": max(sizes.stored // sizes.segment_length, 1),
        "segment_length": sizes.segment_length,
    },
    SummaryBank: lambda sizes: {"num_heads": sizes.num_heads, "capacity": sizes.stored},
    SlotAttentionMemory: lambda sizes: {"num_slots": sizes.stored, "num_heads": sizes.num_heads},
    GatedSlotEncoder: lambda sizes: {
        "config": GatedSlotConfig(
            dim=sizes.dim,
            num_slots=sizes.stored,
            num_heads=sizes.num_heads,
            ffn_dim=4 * sizes.dim,
            num_layers=sizes.num_layers,
            max_length=sizes.segment_length,
            dropout=0.0,
        )
    },
    MemoryTokenWrapper: lambda sizes: {"num_tokens": max(sizes.stored // 4, 1)},  # every segment attends to all, twice
    HierarchicalMemoryWrapper: lambda sizes: {"num_bank": sizes.stored, "num_sensory": sizes.segment_length},
    SurpriseMemory: lambda sizes: {"chunk_length": sizes.segment_length},
    StackCell: lambda sizes: {"size": sizes.stored},
    TapeCell: lambda sizes: {"size": sizes.stored},
    NeuralTuringMemory: lambda sizes: {"slots": sizes.stored, "width": sizes.dim},
}


def memory_options(mechanism: Mechanism, sizes: Sizes) -> dict[str, Any]:
    """Return the constructor arguments beside ``dim``; none where the memory has no size to choose."""
    return _OPTIONS[mechanism.cls](sizes) if mechanism.cls in _OPTIONS else {}


def build_memory(mechanism: Mechanism, sizes: Sizes) -> SegmentMemory[Any]:
    """Return a recurrent memory of the catalogue alone; one that wraps a model gets a small transformer."""
    options = memory_options(mechanism, sizes)
    memory: SegmentMemory[Any]
    if mechanism.place == "model":
        memory = build_transformer(
            TransformerConfig(
                sizes.dim, sizes.num_layers, sizes.num_heads, 4 * sizes.dim, mechanism.name, memory_options=options
            )
        )
    else:
        memory = mechanism.cls(**options) if "config" in options else mechanism.cls(sizes.dim, **options)
    return memory
