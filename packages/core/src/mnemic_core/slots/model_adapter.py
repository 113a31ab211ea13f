"""Put memory around a model that somebody else wrote: three functions say how to use it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from mnemic_core.errors import UserError
from mnemic_core.layers import CausalAttention, token_positions
from mnemic_core.memory import Detach, SegmentMemory
from mnemic_core.state import MemoryState

S = TypeVar("S", bound=MemoryState)

OFFICIAL_MODEL = "memory_cell.model."


def _hidden_states(_model: Any, hidden: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch time dim"]:
    return hidden


@dataclass(frozen=True)
class ModelAdapter:
    """How to embed for a model, run it and turn its hidden states into outputs.

    Each function takes the model as its first argument and keeps nothing of it, so that a wrapped model can be
    copied, moved, compiled and sharded like any other. With a GPT-2 of the ``transformers`` package, for example,
    ``run`` returns ``model.transformer(inputs_embeds=embeds, attention_mask=~padding,
    position_ids=positions).last_hidden_state`` (no attention mask where ``padding`` is None), ``embed`` is
    ``model.transformer.wte(ids)`` and ``head`` is ``model.lm_head(hidden)``.

    Attributes:
        run: ``(model, embeds[batch time dim], padding[batch time] or None, positions[batch time])`` to the last
            hidden states ``[batch time dim]``, after the final norm. ``padding`` is True at tokens that no other may
            attend to; ``positions`` count the tokens of a row without its padding. The model masks causally itself.
        embed: ``(model, ids)`` to embeddings ``[batch time dim]`` without positions; None for a model that is fed
            features.
        head: ``(model, hidden[batch time dim])`` to outputs ``[batch time out_dim]``; the hidden states themselves
            by default.

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
    """A model that a memory wraps, and how to use it.

    Attributes:
        model: the model; its parameters become those of the wrapper.
        adapter: how to embed for it, run it and take its outputs.
    """

    model: nn.Module
    adapter: ModelAdapter

    @staticmethod
    def attention(dim: int) -> "HostModel":
        """Return the smallest causal model: one layer of self-attention with a residual path; ``dim`` is even."""
        return HostModel(CausalAttention(dim, num_heads=1), ModelAdapter(run=_attend))


class ModelWrapper(SegmentMemory[S]):
    """Base of memories that surround a whole model and see nothing of it but its inputs and last hidden states.

    Args:
        dim: width of the model's embeddings and hidden states.
        host: the model; its parameters are those of the wrapper. None: a layer of causal attention.
        detach: ``"never"`` lets gradients cross every segment, ``"stored"`` none.
    """

    def __init__(self, dim: int, host: HostModel | None, detach: Detach) -> None:
        super().__init__(dim, detach)
        host = HostModel.attention(dim) if host is None else host
        self.model = host.model
        self.adapter = host.adapter

    def embed(self, ids: Shaped[Tensor, " *input"]) -> Float[Tensor, "batch tokens dim"]:
        """Return the embeddings of token ids, or of whatever else the model embeds, as :meth:`forward` takes them.

        Raises:
            UserError: if the adapter does not say how.
        """
        if self.adapter.embed is None:
            raise UserError("the adapter has no embed: give ModelAdapter one, or call the wrapper with embeddings")
        return self.adapter.embed(self.model, ids)

    def _run(
        self, embeds: Float[Tensor, "batch time dim"], padding: Bool[Tensor, "batch time"] | None
    ) -> Float[Tensor, "batch time dim"]:
        """Run the model; positions skip padding, so that tokens stand where they would without it."""
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


def rows_with_tokens(
    x: Shaped[Tensor, "batch time dim"], padding: Bool[Tensor, "batch time"] | None
) -> Bool[Tensor, " batch"]:
    """Return True for each row that has a token which is not padding."""
    if padding is None:
        return torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
    return ~padding.all(1)


def rename_official(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Return an official checkpoint under this package's names; the wrapped model keeps the names that it has.

    Args:
        state: the tensors of the checkpoint; those of the model begin with ``memory_cell.model.``.
        names: our name for each official one outside the model.

    Raises:
        UserError: if the checkpoint has a tensor that neither the model nor the wrapper knows.
    """
    unknown = sorted(key for key in state if not key.startswith(OFFICIAL_MODEL) and key not in names)
    if unknown:
        raise UserError(f"the checkpoint has {unknown} beside the model, expected only {sorted(names)}")
    return {
        names[key] if key in names else f"model.{key.removeprefix(OFFICIAL_MODEL)}": tensor
        for key, tensor in state.items()
    }
