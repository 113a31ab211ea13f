"""Adapters that let a memory wrap any model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from mnemic_core.errors import UserError
from mnemic_core.layers import CausalAttention, token_positions
from mnemic_core.memory import Detach, SegmentMemory
from mnemic_core.state import MemoryState

S = TypeVar("S", bound=MemoryState)

OFFICIAL_MODEL = "memory_cell.model."  # prefix in checkpoints of RMT and HMT


def _hidden_states(_model: Any, hidden: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch time dim"]:
    return hidden


@dataclass(frozen=True)
class ModelAdapter:
    """Functions that embed for a model, run it and compute outputs from its hidden states.

    Each takes the model as its first argument, so that a wrapped model can be copied, moved, compiled and sharded. For
    a GPT-2 of ``transformers``, ``run`` is ``model.transformer(inputs_embeds=embeds, attention_mask=~padding,
    position_ids=positions).last_hidden_state`` (no mask where ``padding`` is None), ``embed`` is
    ``model.transformer.wte(ids)`` and ``head`` is ``model.lm_head(hidden)``.

    Attributes:
        run: ``(model, embeds[batch time dim], padding[batch time] or None, positions[batch time])`` to the last
            hidden states ``[batch time dim]``, after the final norm. ``positions`` skip padding; causal masking is up
            to the model.
        embed: ``(model, ids)`` to embeddings ``[batch time dim]`` without positions; None for a model of features.
        head: ``(model, hidden[batch time dim])`` to outputs ``[batch time out_dim]``; the identity by default.

    Example:
        >>> adapter = ModelAdapter(run=lambda model, embeds, padding, positions: model(embeds))
        >>> adapter.run(nn.Identity(), torch.ones(1, 2, 1), None, torch.tensor([[0, 1]])).tolist()
        [[[1.0], [1.0]]]
    """

    run: Callable[[Any, Tensor, Tensor | None, Tensor], Tensor]
    embed: Callable[[Any, Tensor], Tensor] | None = None
    head: Callable[[Any, Tensor], Tensor] = _hidden_states


def _attend(
    model: CausalAttention,
    embeds: Float[Tensor, "batch time dim"],
    padding: Bool[Tensor, "batch time"] | None,
    _positions: Int[Tensor, "batch time"],
) -> Float[Tensor, "batch time dim"]:
    hidden: Tensor = embeds + model(embeds, padding)
    return hidden


@dataclass(frozen=True)
class HostModel:
    """A model for a memory to wrap, with its adapter."""

    model: nn.Module
    adapter: ModelAdapter

    @staticmethod
    def attention(dim: int) -> "HostModel":
        """Return one layer of causal self-attention with a residual connection; ``dim`` is even."""
        return HostModel(CausalAttention(dim, num_heads=1), ModelAdapter(run=_attend))


class ModelWrapper(SegmentMemory[S]):
    """Base of memories that use the inputs and last hidden states of a model.

    Args:
        dim: width of the model's embeddings and hidden states.
        host: the model; None: a layer of causal attention.
        detach: as in :class:`SegmentMemory`.

    Attributes:
        official_names: our name for each weight of the official wrapper outside the model.
    """

    official_names: ClassVar[Mapping[str, str]] = {}

    def __init__(self, dim: int, host: HostModel | None, detach: Detach) -> None:
        super().__init__(dim, detach)
        host = HostModel.attention(dim) if host is None else host
        self.model = host.model
        self.adapter = host.adapter

    def embed(self, ids: Shaped[Tensor, " *input"]) -> Float[Tensor, "batch tokens dim"]:
        """Return the embeddings of token ids, or of other inputs of the model, for :meth:`forward`."""
        if self.adapter.embed is None:
            raise UserError("the adapter has no embed: give ModelAdapter one, or call the wrapper with embeddings")
        return self.adapter.embed(self.model, ids)

    @classmethod
    def from_official(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights of an official ``RecurrentWrapper`` under our names; those of its model keep theirs.

        Raises:
            UserError: if a weight is neither of the model nor of the wrapper.
        """
        unknown = sorted(key for key in state if not key.startswith(OFFICIAL_MODEL) and key not in cls.official_names)
        if unknown:
            raise UserError(
                f"the checkpoint has {unknown} outside the model, expected only {sorted(cls.official_names)}"
            )
        return {
            cls.official_names.get(key, f"model.{key.removeprefix(OFFICIAL_MODEL)}"): tensor
            for key, tensor in state.items()
        }

    def _run(
        self, embeds: Float[Tensor, "batch time dim"], padding: Bool[Tensor, "batch time"] | None
    ) -> Float[Tensor, "batch time dim"]:
        """Run the model with positions that skip padding."""
        if padding is None:
            positions = torch.arange(embeds.shape[1], device=embeds.device).expand(embeds.shape[:2])
        else:
            positions = token_positions(padding)
        hidden = self.adapter.run(self.model, embeds, padding, positions)
        if not isinstance(hidden, Tensor) or hidden.shape != embeds.shape:
            found = tuple(hidden.shape) if isinstance(hidden, Tensor) else type(hidden).__name__
            raise TypeError(f"the adapter's run must return hidden states {tuple(embeds.shape)}, got {found}")
        return hidden

    def _head(self, hidden: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch time out_dim"]:
        return self.adapter.head(self.model, hidden)
