"""Memories of the catalogue alone, made comparable: about as many vectors stored in each."""

from typing import Any

from mnemic_core import MemoryConfig, SegmentMemory, Sizes, TransformerConfig, build_transformer, find_mechanism
from mnemic_core.slots.model_adapter import HostModel
from mnemic_core.transformer import STACK_ADAPTER


def build_memory(name: str, sizes: Sizes) -> SegmentMemory[Any]:
    """Return a memory of the catalogue alone; one that wraps a model gets a small transformer."""
    transformer = build_transformer(TransformerConfig(sizes.dim, sizes.num_layers, sizes.num_heads, 4 * sizes.dim))
    memory = MemoryConfig(name, find_mechanism(name).sized(sizes))
    return memory.build(sizes.dim, HostModel(transformer, STACK_ADAPTER))
