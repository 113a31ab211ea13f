"""A small causal transformer in which any memory can stand, chosen by name."""

from dataclasses import dataclass, field
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.catalogue import find_mechanism
from mnemic_core.errors import UserError
from mnemic_core.layer_states import LayerStates
from mnemic_core.layers import CausalAttention, FeedForward
from mnemic_core.mechanism import Mechanism
from mnemic_core.memory import SegmentMemory
from mnemic_core.slots.model_adapter import ModelAdapter
from mnemic_core.slots.no_memory import NoMemory
from mnemic_core.state import MemoryState


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a causal transformer and the memory in it.

    Args:
        dim: width of tokens; an even multiple of ``num_heads``.
        num_layers: blocks.
        num_heads: heads of the self-attention.
        ffn_dim: hidden width of the feed-forward blocks.
        memory: name of a segment memory of the catalogue, or ``none``.
        memory_options: constructor arguments of the memory, such as ``{"capacity": 64}``.
        memory_layers: blocks that have the memory, counted from 0; None: all of them. Not for a memory that wraps
            the whole model.
        dropout: in residual branches.
    """

    dim: int = 128
    num_layers: int = 4
    num_heads: int = 4
    ffn_dim: int = 512
    memory: str = "none"
    memory_options: dict[str, Any] = field(default_factory=dict)
    memory_layers: tuple[int, ...] | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.num_heads < 1 or self.dim % (2 * self.num_heads):
            raise UserError(f"dim must be a multiple of 2 * num_heads, got dim={self.dim}, num_heads={self.num_heads}")
        for layer in self.memory_layers or ():
            if not 0 <= layer < self.num_layers:
                raise UserError(f"memory_layers must be in 0..{self.num_layers - 1}, got {layer}")


def build_transformer(config: TransformerConfig) -> SegmentMemory[Any]:
    """Return a causal transformer with the memory of the configuration, from embeddings to hidden states.

    Where the memory goes follows from its place in the catalogue: in the blocks, instead of their self-attention or
    beside it, around the whole stack, or in place of it, with options of its own.

    Raises:
        UserError: if there is no such memory, or it is none that a causal model could use segment by segment.

    Example:
        >>> model = build_transformer(TransformerConfig(dim=8, num_layers=2, num_heads=2, ffn_dim=16, memory="window"))
        >>> y, state = model(torch.randn(1, 5, 8), model.init_state(batch=1))
        >>> y.shape, len(state)
        (torch.Size([1, 5, 8]), 2)
    """
    mechanism = find_mechanism(config.memory)
    if mechanism.place == "stack":
        whole: SegmentMemory[Any] = mechanism.cls(config.dim, **config.memory_options)
        return whole
    if mechanism.place == "model":
        stack = MemoryTransformer(config, None)
        wrapped: SegmentMemory[Any] = mechanism.cls(stack, STACK_ADAPTER, config.dim, **config.memory_options)
        return wrapped
    if mechanism.place not in {"attention", "beside"}:
        raise UserError(f"{config.memory!r} is a {mechanism.place}, expected a segment memory")
    return MemoryTransformer(config, mechanism)


class MemoryTransformer(SegmentMemory[LayerStates]):
    """Pre-norm blocks, of which some have a memory, and a final norm.

    State: a :class:`LayerStates` with the state of each block that has a memory.

    Args:
        config: sizes.
        mechanism: the memory of the blocks; None for blocks without.
    """

    def __init__(self, config: TransformerConfig, mechanism: Mechanism | None) -> None:
        super().__init__(config.dim, detach="never")
        chosen = range(config.num_layers) if config.memory_layers is None else config.memory_layers
        self.blocks = nn.ModuleList(
            MemoryBlock(config, mechanism if index in chosen else None) for index in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.dim)
        self.detach = next((block.memory.detach for block in self._blocks() if block.has_memory), "never")

    def init_state(
        self, batch: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> LayerStates:
        """Return the fresh states of all blocks."""
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
    """Self-attention, memory and feed-forward, each behind a norm and beside a residual path.

    Args:
        config: sizes.
        mechanism: the memory; None: a block that forgets everything.
    """

    def __init__(self, config: TransformerConfig, mechanism: Mechanism | None) -> None:
        super().__init__()
        dim = config.dim
        self.has_memory = mechanism is not None and mechanism.name != "none"
        self.attends_itself = mechanism is None or mechanism.place == "beside"
        if self.attends_itself:
            self.attention_norm = nn.LayerNorm(dim)
            self.attention = CausalAttention(dim, config.num_heads)
        self.memory: SegmentMemory[Any] = NoMemory(dim)
        if mechanism is not None and self.has_memory:
            self.memory = mechanism.cls(dim, **config.memory_options)
            self.memory_norm = nn.LayerNorm(dim)
            self.memory_output = nn.Linear(dim, dim)  # some memories have no parameters of their own
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
        if self.has_memory:
            recalled, state = self.memory(self.memory_norm(x), state, padding=padding)
            x = x + self.dropout(self.memory_output(recalled))
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
"""How a memory that wraps a model runs our own stack."""
