"""A small causal transformer with any memory of the catalogue."""

from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.errors import UserError, check_range
from mnemic_core.layer_states import LayerStates
from mnemic_core.layers import CausalAttention, FeedForward
from mnemic_core.listing import lists_memories
from mnemic_core.memory import SegmentMemory
from mnemic_core.memory_config import MemoryConfig
from mnemic_core.residual import ResidualMemory
from mnemic_core.slots.model_adapter import HostModel, ModelAdapter
from mnemic_core.state import Device, MemoryState


@lists_memories(lambda entry: entry.fits_causal_model)
@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a causal transformer and the memory in it.

    Args:
        dim: width of tokens; an even multiple of ``num_heads``.
        num_layers: blocks.
        num_heads: heads of the self-attention.
        ffn_dim: hidden width of the feed-forward blocks.
        memory: one that a causal model can use segment by segment: {memories}.
        memory_layers: blocks with the memory, counted from 0; None: all. Ignored by memories that wrap the model.
        dropout: in residual branches.
    """

    dim: int = 128
    num_layers: int = 4
    num_heads: int = 4
    ffn_dim: int = 512
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    memory_layers: tuple[int, ...] | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        self.memory.require("a causal model can use segment by segment", lambda entry: entry.fits_causal_model)
        check_range(self, 1, inf, "dim", "num_layers", "num_heads", "ffn_dim")
        check_range(self, 0, 1, "dropout")
        if self.dim % (2 * self.num_heads):
            raise UserError(f"dim must be a multiple of 2 * num_heads, got dim={self.dim}, num_heads={self.num_heads}")
        for layer in self.memory_layers or ():
            if not 0 <= layer < self.num_layers:
                raise UserError(f"memory_layers must be in 0..{self.num_layers - 1}, got {layer}")


def build_transformer(config: TransformerConfig) -> SegmentMemory[Any]:
    """Return a causal transformer with memory, from embeddings to hidden states.

    Depending on its catalogue entry, the memory is added to the blocks, replaces their self-attention, wraps the
    stack, or replaces it.

    Raises:
        UserError: if an option of the memory has an impossible value.

    Example:
        >>> config = TransformerConfig(dim=8, num_layers=2, num_heads=2, ffn_dim=16, memory=MemoryConfig("window"))
        >>> model = build_transformer(config)
        >>> y, state = model(torch.randn(1, 5, 8), model.init_state(batch=1))
        >>> y.shape, len(state)
        (torch.Size([1, 5, 8]), 2)
    """
    mechanism = config.memory.mechanism
    if mechanism.is_whole_model:
        return config.memory.build(config.dim)
    if mechanism.wraps_model:
        stack = MemoryTransformer(replace(config, memory=MemoryConfig()))
        return config.memory.build(config.dim, HostModel(stack, STACK_ADAPTER))
    return MemoryTransformer(config)


class MemoryTransformer(SegmentMemory[LayerStates]):
    """Pre-norm blocks, some of them with a memory, and a final norm.

    State: a :class:`LayerStates` with the state of each block that has a memory.

    Args:
        config: sizes, and the memory of the blocks.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config.dim, detach="never")
        chosen = range(config.num_layers) if config.memory_layers is None else config.memory_layers
        self.blocks = nn.ModuleList(
            MemoryBlock(config, config.memory if index in chosen else MemoryConfig())
            for index in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.dim)
        # The blocks detach by themselves; this reports what they do.
        self.detach = next((block.memory.detach for block in self._blocks() if not block.memory.adds_nothing), "never")

    def init_state(self, batch: int, *, device: Device = None, dtype: torch.dtype | None = None) -> LayerStates:
        """Return the initial states of all blocks."""
        states = (block.memory.init_state(batch, device=device, dtype=dtype) for block in self._blocks())
        return LayerStates(tuple(states))

    def _run_segment(
        self, x: Float[Tensor, "batch time dim"], state: LayerStates, padding: Bool[Tensor, "batch time"] | None
    ) -> tuple[Float[Tensor, "batch time dim"], LayerStates]:
        after = []
        for block, before in zip(self._blocks(), state.layers, strict=True):
            x, memory = block(x, before, padding)
            after.append(memory)
        return self.norm(x), LayerStates(tuple(after))

    def _blocks(self) -> list["MemoryBlock"]:
        return [cast(MemoryBlock, block) for block in self.blocks]


class MemoryBlock(nn.Module):
    """Self-attention, memory and feed-forward, each in a pre-norm residual branch.

    Args:
        config: sizes.
        memory: the memory of this block.
    """

    def __init__(self, config: TransformerConfig, memory: MemoryConfig) -> None:
        super().__init__()
        dim = config.dim
        self.attends_itself = not memory.mechanism.replaces_attention
        if self.attends_itself:
            self.attention_norm = nn.LayerNorm(dim)
            self.attention = CausalAttention(dim, config.num_heads)
        self.memory = ResidualMemory(dim, memory, dropout=config.dropout)
        self.ffn_norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, config.ffn_dim, F.gelu)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: MemoryState,
        padding: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time dim"], MemoryState]:
        """Return the tokens after the block, and the state of its memory."""
        if self.attends_itself:
            x = x + self.dropout(self.attention(self.attention_norm(x), padding))
        x, state = self.memory(x, state, padding=padding)
        return x + self.dropout(self.ffn(self.ffn_norm(x))), state


def _run_stack(
    model: MemoryTransformer,
    embeds: Float[Tensor, "batch time dim"],
    padding: Bool[Tensor, "batch time"] | None,
    positions: Int[Tensor, "batch time"],
) -> Float[Tensor, "batch time dim"]:
    # The stack counts positions itself, in the same way.
    hidden: Tensor = model(embeds, model.init_state(len(embeds), device=embeds.device), padding=padding)[0]
    return hidden


STACK_ADAPTER = ModelAdapter(run=_run_stack)
"""How a memory that wraps a model runs this transformer."""
