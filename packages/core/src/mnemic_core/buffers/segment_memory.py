"""Transformer-XL: each layer remembers its latest inputs of earlier segments."""

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.buffers.relative_attention import RelativeAttention
from mnemic_core.errors import UserError, check_at_least
from mnemic_core.layer_states import LayerStates
from mnemic_core.layers import FeedForward, token_positions, tokens_first
from mnemic_core.mechanism import Mechanism
from mnemic_core.memory import Detach, SegmentMemory
from mnemic_core.state import Device, MemoryState, SlotView, check_shape

S = TypeVar("S", bound=MemoryState)


@dataclass(frozen=True)
class SegmentState(MemoryState):
    """The latest hidden states of a row, oldest first, after empty slots.

    Attributes:
        hidden: content of the slots; zeros in empty ones.
        count: slots in use, the last ones.
    """

    hidden: Float[Tensor, "batch slot dim"]
    count: Int[Tensor, " batch"]

    @classmethod
    def empty(cls, batch: int, capacity: int, dim: int, device: Device, dtype: torch.dtype | None) -> "SegmentState":
        """Return empty slots."""
        hidden = torch.zeros(batch, capacity, dim, device=device, dtype=dtype)
        return cls(hidden, torch.zeros(batch, device=device, dtype=torch.long))

    def slots(self) -> SlotView:
        """Return the slots."""
        age = torch.arange(self.hidden.shape[1] - 1, -1, -1, device=self.count.device)
        valid = age < self.count[:, None]
        return SlotView(self.hidden, valid, torch.where(valid, age, -1))

    def append(self, x: Float[Tensor, "batch time dim"], added: Int[Tensor, " batch"] | None = None) -> "SegmentState":
        """Return the slots after the tokens of a segment.

        Args:
            x: the tokens, oldest first; of more than the slots only the latest are kept.
            added: number of tokens of each row before its padding; all if None.
        """
        capacity, time = self.hidden.shape[1], x.shape[1]
        x = x.to(self.hidden.dtype)
        if added is None:
            hidden = torch.cat([self.hidden[:, time:], x[:, max(time - capacity, 0) :]], dim=1)
            return SegmentState(hidden, (self.count + time).clamp(max=capacity))
        source = torch.arange(capacity, device=x.device) + added[:, None]  # batch slot
        hidden = torch.cat([self.hidden, x], dim=1).take_along_dim(source[..., None], dim=1)
        return SegmentState(hidden, (self.count + added).clamp(max=capacity))


class _LatestTokens(SegmentMemory[S]):
    """Moves padding behind the tokens of its row around ``_run``, which a mechanism implements."""

    def _run_segment(
        self, x: Float[Tensor, "batch time dim"], state: S, padding: Bool[Tensor, "batch time"] | None
    ) -> tuple[Float[Tensor, "batch time dim"], S]:
        if padding is None:
            return self._run(x, state, None)
        # Compact tokens keep the distances of relative positions, and padding after them is never seen.
        y, state = self._run(x.take_along_dim(tokens_first(padding)[..., None], dim=1), state, (~padding).sum(1))
        return y.take_along_dim(token_positions(padding)[..., None], dim=1), state

    @abstractmethod
    def _run(
        self, x: Float[Tensor, "batch time dim"], state: S, added: Int[Tensor, " batch"] | None
    ) -> tuple[Float[Tensor, "batch time dim"], S]:
        """Run a segment of ``added`` tokens per row and padding after them, which the causal mask hides."""


class RelativeSegmentAttention(_LatestTokens[SegmentState]):
    """Self-attention that also sees the latest tokens of earlier segments.

    Dai et al., Transformer-XL (ACL 2019, arXiv:1901.02860), sections 3.2 and 3.3: the memory holds the inputs of the
    attention, and keys and values are projected from ``[memory, segment]`` with the current weights. For the equations
    see :class:`RelativeAttention`.

    State of a row: ``capacity`` vectors of ``dim`` and their number, ``4 capacity dim + 8`` bytes in float32.

    Args:
        dim: width of tokens, an even number.
        capacity: tokens remembered per row; 0 attends to the segment only. By default heads and capacity are those of
            the paper's base model on enwik8.
        num_heads: attention heads.
        head_dim: width of a head; ``dim / num_heads`` if None.
        clamp: largest distance; None for no limit.
        same_length: let every token see at most ``capacity`` tokens, itself included, as in the paper's evaluation;
            otherwise late tokens of a segment see more than early ones.
        pre_norm: apply layer normalization to memory and segment; what is stored is not normalized.
        detach: ``"stored"`` (the paper) detaches the memory, ``"never"`` does not.

    Example:
        >>> memory = RelativeSegmentAttention(dim=8, capacity=6, num_heads=2)
        >>> state = memory.init_state(batch=1)
        >>> for segment in torch.ones(1, 8, 8).split(4, dim=1):
        ...     output, state = memory(segment, state)
        >>> output.shape, state.hidden.shape, state.count
        (torch.Size([1, 4, 8]), torch.Size([1, 6, 8]), tensor([6]))
    """

    def __init__(
        self,
        dim: int,
        *,
        capacity: int = 512,
        num_heads: int = 8,
        head_dim: int | None = None,
        clamp: int | None = None,
        same_length: bool = False,
        pre_norm: bool = False,
        detach: Detach = "stored",
    ) -> None:
        super().__init__(dim, detach)
        check_at_least(0, capacity=capacity)
        self.capacity = capacity
        window = capacity if same_length else None
        self.attention = RelativeAttention(
            dim, num_heads, head_dim=head_dim, clamp=clamp, window=window, pre_norm=pre_norm
        )
        self.biases = _new_biases(2, num_heads, self.attention.head_dim)

    def init_state(self, batch: int, *, device: Device = None, dtype: torch.dtype | None = None) -> SegmentState:
        """Return empty slots, which attention masks."""
        return SegmentState.empty(batch, self.capacity, self.dim, device, dtype)

    def _check(self, x: Float[Tensor, "batch time width"], state: SegmentState) -> None:
        super()._check(x, state)
        check_shape("hidden states", state.hidden, (len(x), self.capacity, self.dim))

    def _run(
        self, x: Float[Tensor, "batch time dim"], state: SegmentState, added: Int[Tensor, " batch"] | None
    ) -> tuple[Float[Tensor, "batch time dim"], SegmentState]:
        return self.attention(x, state.hidden, state.count, self.biases), state.append(x, added)


TRANSFORMER_XL = Mechanism(
    name="transformer_xl",
    cls=RelativeSegmentAttention,
    place="attention",
    paper="Transformer-XL: Attentive Language Models beyond a Fixed-Length Context (ACL 2019)",
    arxiv="1901.02860",
    objective=("context extension",),
    representation="state-based",
    integration=("attention fusion",),
    read="softmax attention over memory and segment with relative positions",
    write="append the layer's inputs",
    forget="first in, first out",
    capacity="`capacity` vectors",
    cost="O(T (T + M) d)",
    bytes_per_row="4 * capacity * dim + 8",
    small={"capacity": 3, "num_heads": 2},
    sized=lambda sizes: {"capacity": sizes.stored, "num_heads": sizes.num_heads},
    size_option="capacity",
)


class SegmentMemoryStack(_LatestTokens[LayerStates]):
    """A complete Transformer-XL, each layer with a memory of its own length.

    Layer ``l`` remembers its inputs (Dai et al., ACL 2019, arXiv:1901.02860, section 3.2)::

        a_l = norm(h_(l-1) + attention([memory_l, h_(l-1)]))    h_l = norm(a_l + ffn(a_l))
        memory_l <- the latest M_l of [memory_l, h_(l-1)]

    so that it sees ``M_1 + ... + M_L`` tokens before a segment. Rae and Razavi (ACL 2020, arXiv:2007.03356) found that
    long memories in few layers, spread over the depth or the last ones, are almost as good as one in every layer.

    State of a row: a :class:`SegmentState` of ``4 M_l dim + 8`` bytes in float32 for each layer.

    Args:
        dim: width of tokens, an even number.
        memory_lengths: tokens that each layer remembers; 0 for none.
        ffn_dim: hidden width of the feed-forward networks; ``4 dim`` if None.
        pre_norm: normalize the inputs of attention and feed-forward instead of their outputs.
        tie_biases: share the biases ``u`` and ``w`` of :class:`RelativeAttention` among all layers.
        dropout: of the outputs of attention and feed-forward.

    Other arguments are those of :class:`RelativeSegmentAttention`, for every layer.

    Example:
        >>> stack = SegmentMemoryStack(dim=8, memory_lengths=(2, 0, 6), num_heads=2)
        >>> output, state = stack(torch.ones(1, 4, 8), stack.init_state(batch=1))
        >>> [layer.count.item() for layer in state]
        [2, 0, 4]
    """

    def __init__(
        self,
        dim: int,
        *,
        memory_lengths: Sequence[int] = (512,) * 4,
        num_heads: int = 8,
        head_dim: int | None = None,
        ffn_dim: int | None = None,
        clamp: int | None = None,
        same_length: bool = False,
        pre_norm: bool = False,
        tie_biases: bool = True,
        dropout: float = 0.0,
        detach: Detach = "stored",
    ) -> None:
        super().__init__(dim, detach)
        if not memory_lengths or min(memory_lengths) < 0:
            raise UserError(f"memory_lengths must name a length of at least 0 for each layer, got {memory_lengths}")
        self.memory_lengths = tuple(memory_lengths)
        windows = self.memory_lengths if same_length else (None,) * len(memory_lengths)
        attentions = [
            RelativeAttention(dim, num_heads, head_dim=head_dim, clamp=clamp, window=window, pre_norm=pre_norm)
            for window in windows
        ]
        ffn_dim = 4 * dim if ffn_dim is None else ffn_dim
        self.layers = nn.ModuleList(_Layer(each, ffn_dim, dropout, pre_norm=pre_norm) for each in attentions)
        self.biases = _new_biases(1 if tie_biases else len(attentions), 2, num_heads, attentions[0].head_dim)

    def init_state(self, batch: int, *, device: Device = None, dtype: torch.dtype | None = None) -> LayerStates:
        """Return empty slots for each layer."""
        states = (SegmentState.empty(batch, length, self.dim, device, dtype) for length in self.memory_lengths)
        return LayerStates(tuple(states))

    def _check(self, x: Float[Tensor, "batch time width"], state: LayerStates) -> None:
        super()._check(x, state)
        if len(state) != len(self.layers):
            raise UserError(
                f"expected states of {len(self.layers)} layers, got {len(state)}; make them with init_state"
            )
        for layer, length in zip(state, self.memory_lengths, strict=True):
            if not isinstance(layer, SegmentState):
                raise TypeError(f"expected a SegmentState, got {type(layer).__name__}; make one with init_state")
            check_shape("hidden states", layer.hidden, (len(x), length, self.dim))

    def _run(
        self, x: Float[Tensor, "batch time dim"], state: LayerStates, added: Int[Tensor, " batch"] | None
    ) -> tuple[Float[Tensor, "batch time dim"], LayerStates]:
        stored: list[SegmentState] = []
        biases = self.biases.expand(len(self.layers), -1, -1, -1).unbind()
        for layer, before, bias in zip(self.layers, cast(Iterable[SegmentState], state), biases, strict=True):
            stored.append(before.append(x, added))
            x = layer(x, before, bias)
        # The official code also keeps the output of the last layer, which nothing reads.
        return x, LayerStates(tuple(stored))


TRANSFORMER_XL_STACK = Mechanism(
    name="transformer_xl_stack",
    cls=SegmentMemoryStack,
    place="stack",
    paper="Do Transformers Need Deep Long-Range Memory? (ACL 2020), per-layer lengths for Transformer-XL",
    arxiv="2007.03356",
    objective=("context extension",),
    representation="state-based",
    integration=("attention fusion",),
    read="softmax attention over each layer's own memory with relative positions",
    write="append each layer's inputs",
    forget="first in, first out, in each layer",
    capacity="`sum(memory_lengths)` vectors",
    cost="O(T (T + M) d) a layer",
    bytes_per_row="sum(4 * length * dim + 8 for length in memory_lengths)",
    small={"memory_lengths": (3, 0, 2), "num_heads": 2},
    sized=lambda sizes: {"memory_lengths": (sizes.stored,) * sizes.num_layers, "num_heads": sizes.num_heads},
)


class _Layer(nn.Module):
    """Attention and feed-forward with residual connections, post-norm or pre-norm."""

    def __init__(self, attention: RelativeAttention, ffn_dim: int, dropout: float, *, pre_norm: bool) -> None:
        super().__init__()
        dim = attention.dim
        self.pre_norm = pre_norm
        self.attention = attention
        self.dropout = nn.Dropout(dropout)
        self.attention_norm = nn.Identity() if pre_norm else nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, ffn_dim, F.relu, dropout)
        self.feed_forward_norm = nn.LayerNorm(dim)

    def forward(
        self, x: Float[Tensor, "batch time dim"], state: SegmentState, biases: Float[Tensor, "2 head head_dim"]
    ) -> Float[Tensor, "batch time dim"]:
        attended = self.attention(x, state.hidden, state.count, biases)
        x = self.attention_norm(x + self.dropout(attended))
        if self.pre_norm:
            x = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        else:
            x = self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
        return x


def convert_transformer_xl(weights: Mapping[str, Tensor], *, pre_norm: bool = False) -> dict[str, Tensor]:
    """Return weights of the official PyTorch model under the names of :class:`SegmentMemoryStack`.

    Args:
        weights: the official state dict (``attn_type`` 0); embeddings and output layers are ignored.
        pre_norm: whether the model was built with ``pre_lnorm``.

    Raises:
        UserError: if a layer has an unknown weight.
    """
    names = {
        "dec_attn.r_net": "attention.position",
        "dec_attn.o_net": "attention.output",
        "dec_attn.layer_norm": "attention.norm" if pre_norm else "attention_norm",
        "pos_ff.CoreNet.0": "feed_forward.expand",
        "pos_ff.CoreNet.3": "feed_forward.contract",
        "pos_ff.layer_norm": "feed_forward_norm",
    }
    converted: dict[str, Tensor] = {}
    for key, tensor in weights.items():
        found = re.fullmatch(r"(layers\.\d+\.)(.+)\.(weight|bias)", key)
        if found is None:
            continue
        layer, part, kind = found.groups()
        if part == "dec_attn.qkv_net":
            size = len(tensor) // 3
            converted[f"{layer}attention.query.{kind}"] = tensor[:size]
            converted[f"{layer}attention.key_value.{kind}"] = tensor[size:]
        elif part in names:
            converted[f"{layer}{names[part]}.{kind}"] = tensor
        else:
            raise UserError(f"{key} is not a weight of relative attention; only models of attn_type 0 can be loaded")
    num_layers = sum(key.endswith("qkv_net.weight") for key in weights)
    owners = [""] if "r_w_bias" in weights else [f"layers.{index}.dec_attn." for index in range(num_layers)]
    pairs = [torch.stack([weights[f"{owner}r_w_bias"], weights[f"{owner}r_r_bias"]]) for owner in owners]
    return converted | {"biases": torch.stack(pairs)}


def _new_biases(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape).normal_(std=0.02))
