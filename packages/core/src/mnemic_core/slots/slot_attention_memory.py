"""Slots read and written by attention: the memory of Memformer."""

import math
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.errors import UserError, check_at_least
from mnemic_core.layers import MultiHeadAttention, or_no_padding
from mnemic_core.mechanism import Mechanism
from mnemic_core.memory import ReadWriteMemory
from mnemic_core.state import Device, MemoryState, SlotView, check_shape

Slots = TypeVar("Slots", bound="SlotState")

_PULL = 0.1  # length of a new bias; with it the half-life of slot content is about seven writes


@dataclass(frozen=True)
class SlotState(MemoryState):
    """Slots that every segment rewrites; base of the states of slot memories.

    Attributes:
        content: the slots.
        count: segments written so far.
    """

    content: Float[Tensor, "batch slot dim"]
    count: Int[Tensor, " batch"]

    def slots(self) -> SlotView:
        """Return the slots, all as old as the sequence."""
        return SlotView.of_equal_age(self.content, self.count)

    def rewritten(self: Slots, content: Float[Tensor, "batch slot dim"], padding: Bool[Tensor, "batch time"]) -> Slots:
        """Return the state after a segment; rows of padding only stay bit-identical."""
        has_tokens = (~padding).any(1)
        content = torch.where(has_tokens[:, None, None], content.to(self.content.dtype), self.content)
        return type(self)(content, self.count + has_tokens)


@dataclass(frozen=True)
class SlotAttentionState(SlotState):
    """The slots of :class:`SlotAttentionMemory`, vectors of length 1, initially learned."""


class SlotAttentionMemory(ReadWriteMemory[SlotAttentionState]):
    """Slots read by cross-attention and written by attention of each slot over itself and the tokens.

    Memformer (Wu et al., arXiv:2010.06891), section 3, memory reading, writing and forgetting. For tokens ``x``, slots
    ``m_i``, learned biases ``b_i`` and a temperature ``t``, in each head of width ``d``::

        read:   y    = softmax((x Wq)(m Wk)^T / sqrt(d)) (m Wv) Wo
        write:  a_i  = softmax([m_i Wq' . m_i Wk' ; m_i Wq' . x Wk'] / (sqrt(d) t))
                m'_i = a_i [m_i Wv' ; x Wv'] Wo'
                m_i <- (m'_i + b_i) / |m'_i + b_i|          at the start m_i = b_i / |b_i|

    A slot does not see other slots. The last line makes slots forget ("biased memory normalization"): each write pulls
    them towards their initial value, by an angle that grows with ``|b_i|``. A segment of padding only writes nothing,
    so that a stream may pause without forgetting.

    State: ``content`` ``[batch slot dim]`` and ``count`` ``[batch]``, ``4 num_slots dim + 8`` bytes per row. Writing
    is learned from what later segments read, so gradients always cross segments; truncate them in the driver.

    Args:
        dim: width of tokens and slots.
        num_slots: slots per row.
        num_heads: attention heads of reading and writing; must divide ``dim``.
        temperature: of the writing attention, sharper below 1. The paper gives no number.

    Example:
        >>> memory = SlotAttentionMemory(dim=8, num_slots=2, num_heads=4)
        >>> recalled, state = memory(torch.randn(3, 5, 8), memory.init_state(batch=3))
        >>> recalled.shape, state.content.shape
        (torch.Size([3, 5, 8]), torch.Size([3, 2, 8]))
    """

    writes_compose: ClassVar[bool] = False  # all tokens of a segment compete in one softmax

    def __init__(self, dim: int, *, num_slots: int = 32, num_heads: int = 8, temperature: float = 0.25) -> None:
        super().__init__(dim, detach="never")
        check_at_least(1, "use NoMemory to keep nothing", num_slots=num_slots)
        if not 0 < temperature < math.inf:
            raise UserError(f"temperature must be positive and finite, got {temperature}")
        self.num_slots = num_slots
        self.temperature = temperature
        self.reading = MultiHeadAttention(dim, num_heads, bias=False)
        self.writing = MultiHeadAttention(dim, num_heads, bias=False)
        self.bias = nn.Parameter(torch.empty(num_slots, dim))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialize all weights."""
        for weight in (*self.reading.parameters(), *self.writing.parameters()):
            nn.init.normal_(weight, std=self.dim**-0.5)
        # A slot has length 1 and a token about sqrt(dim), so projections of slots start larger by that factor.
        # Otherwise all slots would read nearly the same mean of the tokens and become equal.
        for linear in (self.reading.key, self.reading.value, self.writing.query):
            nn.init.normal_(linear.weight)
        # In the paper the value of a slot is the slot itself; value and output projection start as the identity.
        nn.init.orthogonal_(self.writing.value.weight)
        self.writing.output.weight.copy_(self.writing.value.weight.T)
        self.bias.copy_(_PULL * F.normalize(torch.randn_like(self.bias), dim=-1))

    def init_state(self, batch: int, *, device: Device = None, dtype: torch.dtype | None = None) -> SlotAttentionState:
        """Return the learned slots for every row; without a ``dtype`` in float32 at least."""
        bias = self.bias.to(device, dtype or torch.promote_types(self.bias.dtype, torch.float32))
        content = F.normalize(bias, dim=-1).expand(batch, -1, -1)
        return SlotAttentionState(content, torch.zeros(batch, device=bias.device, dtype=torch.long))

    def read(
        self, query: Float[Tensor, "batch time dim"], state: SlotAttentionState
    ) -> Float[Tensor, "batch time dim"]:
        """Return what each token recalls from the slots."""
        recalled: Tensor = self.reading(query, *self.reading.keys_and_values(self._content(state, query)))
        return recalled

    def read_weights(
        self, query: Float[Tensor, "batch time dim"], state: SlotAttentionState
    ) -> Float[Tensor, "batch time slot"]:
        """Return the attention of each token to the slots, mean over heads."""
        keys, _ = self.reading.keys_and_values(self._content(state, query))
        logits = self.reading.queries(query) @ keys.mT / math.sqrt(keys.shape[-1])
        return logits.softmax(-1).mean(1)

    def write(
        self,
        state: SlotAttentionState,
        values: Float[Tensor, "batch time dim"],
        *,
        padding: Bool[Tensor, "batch time"] | None = None,
    ) -> SlotAttentionState:
        """Return the state after a segment; a row without any token stays bit-identical."""
        padding = or_no_padding(padding, values)
        weights, own, offered = self._write_weights(state, values, padding)
        found = self.writing.merge(weights[..., :1] * own + weights[..., 1:] @ offered)
        content = found.to(state.content.dtype) + self.bias.to(state.content.dtype)
        return state.rewritten(F.normalize(content, dim=-1), padding)

    def write_weights(
        self,
        state: SlotAttentionState,
        values: Float[Tensor, "batch time dim"],
        *,
        padding: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch head slot key"]:
        """Return the writing attention of each slot: first to itself, the share that it keeps, then to the tokens."""
        return self._write_weights(state, values, or_no_padding(padding, values))[0]

    def _write_weights(
        self,
        state: SlotAttentionState,
        values: Float[Tensor, "batch time dim"],
        padding: Bool[Tensor, "batch time"],
    ) -> tuple[
        Float[Tensor, "batch head slot key"],
        Float[Tensor, "batch head slot head_dim"],
        Float[Tensor, "batch head time head_dim"],
    ]:
        """Return the writing attention and the values of slots and tokens."""
        content = self._content(state, values)
        values = values.masked_fill(padding[..., None], 0)  # it may hold NaN
        queries, (own_keys, own_values) = self.writing.queries(content), self.writing.keys_and_values(content)
        keys, offered = self.writing.keys_and_values(values)
        to_itself = (queries * own_keys).sum(-1, keepdim=True)  # batch head slot 1
        to_tokens = queries @ keys.mT  # batch head slot time
        to_tokens = to_tokens.masked_fill(padding[:, None, None], -math.inf)  # the slot itself is never masked
        logits = torch.cat([to_itself, to_tokens], dim=-1)  # batch head slot 1+time
        weights = (logits / (math.sqrt(queries.shape[-1]) * self.temperature)).softmax(-1)
        return weights, own_values, offered

    def _content(
        self, state: SlotAttentionState, x: Float[Tensor, "batch time dim"]
    ) -> Float[Tensor, "batch slot dim"]:
        check_shape("slots", state.content, (len(x), self.num_slots, self.dim))
        return state.content.to(x.dtype)


SLOT_ATTENTION = Mechanism(
    name="slot_attention",
    cls=SlotAttentionMemory,
    place="beside",
    is_read_write=True,
    paper="Memformer: A Memory-Augmented Transformer for Sequence Modeling (2020), slot attention",
    arxiv="2010.06891",
    objective=("context extension",),
    representation="state-based",
    integration=("attention fusion",),
    read="cross-attention of tokens over slots",
    write="attention of each slot over itself and the tokens, normalized",
    forget="each write pulls a slot towards its learned start",
    capacity="`num_slots` vectors",
    cost="O(T K d)",
    bytes_per_row="4 * num_slots * dim + 8",
    small={"num_slots": 3, "num_heads": 2},
    sized=lambda sizes: {"num_slots": sizes.stored, "num_heads": sizes.num_heads},
)
