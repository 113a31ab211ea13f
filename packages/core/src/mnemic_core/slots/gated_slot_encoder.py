"""An encoder with a second stream of gated memory slots: the memory of MemBART."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.errors import UserError, check_at_least, check_heads
from mnemic_core.layers import FeedForward, MultiHeadAttention, or_no_padding
from mnemic_core.mechanism import Mechanism
from mnemic_core.memory import SegmentMemory
from mnemic_core.slots.slot_attention_memory import SlotState
from mnemic_core.state import Device, check_shape

_STD = 0.02  # of every weight in BART


@dataclass(frozen=True)
class GatedSlotState(SlotState):
    """The slots of :class:`GatedSlotEncoder`; zeros before the first segment."""


class GatedSlotEncoder(SegmentMemory[GatedSlotState]):
    """A transformer encoder with a stream of memory slots in every layer, updated by a gate.

    The encoder of MemBART (Wu and Yu, arXiv:2209.07634) as in its released code. For the slots ``M`` of the previous
    segment, initially zeros, and a learned bias ``b``::

        S_0 = LayerNorm(M + b)
        S_l, H_l = layer(S_{l-1}, H_{l-1})                     H_0 = LayerNorm(tokens + positions)
        g   = sigmoid(W2 gelu(W1 S_L))                         one number for each slot
        M  <- g S_L + (1 - g) S_0

    In a layer both streams attend in one softmax, with their own projections: tokens to all slots and tokens, slots to
    themselves and all tokens. Residual, layer norm, feed-forward, residual and layer norm follow for each stream. The
    output is the token stream ``H_L``; a decoder attends to it together with the new slots, ``state.content``.

    Tokens see their whole segment, so that only encoders can use it. A segment of padding only keeps the slots of its
    row bit-identical.

    State: ``content`` ``[batch slot dim]`` and ``count`` ``[batch]``, ``4 num_slots dim + 8`` bytes per row. Writing
    is learned from what later segments read, so gradients always cross segments; truncate them in the driver.

    Args:
        dim: width of tokens and slots; 1024 in MemBART-large, whose other sizes are the defaults.
        num_slots: slots per row.
        num_heads: attention heads; must divide ``dim``.
        ffn_dim: hidden width of the feed-forward blocks; ``4 dim`` if None.
        num_layers: depth.
        max_length: largest number of tokens of a segment, which has learned positions.
        dropout: of embeddings, residual branches and gate.

    Attributes:
        gate: maps the slots of the last layer to the share of new content, 0 to 1.

    Example:
        >>> encoder = GatedSlotEncoder(dim=8, num_slots=2, num_heads=4, num_layers=1, max_length=5)
        >>> encoded, state = encoder(torch.randn(3, 5, 8), encoder.init_state(batch=3))
        >>> encoded.shape, state.content.shape
        (torch.Size([3, 5, 8]), torch.Size([3, 2, 8]))
    """

    def __init__(
        self,
        dim: int,
        *,
        num_slots: int = 128,
        num_heads: int = 16,
        ffn_dim: int | None = None,
        num_layers: int = 12,
        max_length: int = 1024,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(dim, detach="never")
        ffn_dim = 4 * dim if ffn_dim is None else ffn_dim
        check_at_least(1, num_slots=num_slots, ffn_dim=ffn_dim, num_layers=num_layers, max_length=max_length)
        check_at_least(1, num_heads=num_heads)
        check_heads(dim, num_heads)
        self.num_slots, self.max_length = num_slots, max_length
        self.positions = nn.Parameter(torch.empty(max_length, dim))
        self.bias = nn.Parameter(torch.empty(num_slots, dim))
        self.token_norm = nn.LayerNorm(dim)
        self.slot_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(_Layer(dim, num_heads, ffn_dim, dropout) for _ in range(num_layers))
        hidden = (nn.Dropout(dropout), nn.Linear(dim, dim), nn.GELU())
        self.gate = nn.Sequential(*hidden, nn.Dropout(dropout), nn.Linear(dim, 1), nn.Sigmoid())
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialize all weights."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                # BART's deviation suits its width of 1024; in narrower networks branches would have no effect.
                nn.init.normal_(module.weight, std=_STD * (1024 / self.dim) ** 0.5)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()
        nn.init.normal_(self.positions, std=_STD)
        nn.init.normal_(self.bias, std=_STD)

    def init_state(self, batch: int, *, device: Device = None, dtype: torch.dtype | None = None) -> GatedSlotState:
        """Return slots of zeros; without a ``dtype`` in float32 at least."""
        device = self.bias.device if device is None else device
        dtype = dtype or torch.promote_types(self.bias.dtype, torch.float32)
        content = torch.zeros(batch, self.num_slots, self.dim, device=device, dtype=dtype)
        return GatedSlotState(content, torch.zeros(batch, device=device, dtype=torch.long))

    def _run_segment(
        self, x: Float[Tensor, "batch time dim"], state: GatedSlotState, padding: Bool[Tensor, "batch time"] | None
    ) -> tuple[Float[Tensor, "batch time dim"], GatedSlotState]:
        padding = or_no_padding(padding, x)
        tokens = self.dropout(self.token_norm(x + self.positions[: x.shape[1]]))
        start = self._start(state.content)
        slots, allowed = start.to(tokens.dtype), self._allowed(padding)
        for layer in self.layers:
            slots, tokens = layer(slots, tokens, allowed)
        # In the type of the state, in which small updates of a nearly closed gate are not lost.
        content = torch.lerp(start, slots.to(start.dtype), self.gate(slots).to(start.dtype))
        return tokens, state.rewritten(content, padding)

    def _check(self, x: Float[Tensor, "batch time width"], state: GatedSlotState) -> None:
        super()._check(x, state)
        if x.shape[1] > self.max_length:
            raise UserError(
                f"a segment may have max_length={self.max_length} tokens, got {x.shape[1]}; split it or raise that"
            )
        check_shape("slots", state.content, (len(x), self.num_slots, self.dim))

    def _blank(
        self, x: Float[Tensor, "batch time dim"], padding: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time dim"]:
        # Only NaN and infinity: the official code encodes padding tokens like others.
        return x.masked_fill(padding[..., None] & ~x.isfinite(), 0)

    def _start(self, content: Float[Tensor, "batch slot dim"]) -> Float[Tensor, "batch slot dim"]:
        """Return the normalized slots in the type of the state, so that a closed gate does not round them."""
        weight, shift, bias = (
            tensor.to(content.dtype) for tensor in (self.slot_norm.weight, self.slot_norm.bias, self.bias)
        )
        return F.layer_norm(content + bias, (self.dim,), weight, shift, self.slot_norm.eps)

    def _allowed(self, padding: Bool[Tensor, "batch time"]) -> Bool[Tensor, "batch query key"]:
        """Return which slot or token may attend to which: all, except slots to other slots and any to padding."""
        num_slots, time = self.num_slots, padding.shape[1]
        itself = torch.eye(num_slots, dtype=torch.bool, device=padding.device)
        allowed = F.pad(itself, (0, time, 0, time), value=True)
        return allowed & F.pad(~padding, (num_slots, 0), value=True)[:, None]


GATED_SLOTS = Mechanism(
    name="gated_slots",
    cls=GatedSlotEncoder,
    place="stack",
    paper="Stateful Memory-Augmented Transformers for Efficient Dialogue Modeling (MemBART, 2022), encoder",
    arxiv="2209.07634",
    objective=("context extension",),
    representation="state-based",
    integration=("attention fusion", "gated control"),
    read="joint attention of tokens over slots and tokens in every layer",
    write="stream of slots through every layer, then a gate",
    forget="one gate for each slot",
    capacity="`num_slots` vectors",
    cost="O((T + K)^2 d) a layer",
    bytes_per_row="4 * num_slots * dim + 8",
    small={"num_slots": 3, "num_heads": 2, "ffn_dim": 6, "num_layers": 2, "max_length": 8, "dropout": 0.0},
    sized=lambda sizes: {
        "num_slots": sizes.stored,
        "num_heads": sizes.num_heads,
        "num_layers": sizes.num_layers,
        "max_length": sizes.segment_length,
        "dropout": 0.0,
    },
    is_causal=False,
)


class _Stream(nn.Module):
    """The weights of one stream in a layer."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(dim, num_heads)
        self.attention_norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, ffn_dim, F.gelu)
        self.ffn_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def project(self, x: Float[Tensor, "batch time dim"]) -> tuple[Float[Tensor, "batch head time head_dim"], ...]:
        """Return queries, keys and values."""
        return self.attention.queries(x), *self.attention.keys_and_values(x)

    def forward(
        self, x: Float[Tensor, "batch time dim"], found: Float[Tensor, "batch head time head_dim"]
    ) -> Float[Tensor, "batch time dim"]:
        x = self.attention_norm(x + self.dropout(self.attention.merge(found)))
        output: Tensor = self.ffn_norm(x + self.dropout(self.ffn(x)))
        return output


class _Layer(nn.Module):
    """Joint attention of slots and tokens."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.slots, self.tokens = (_Stream(dim, num_heads, ffn_dim, dropout) for _ in range(2))

    def forward(
        self,
        slots: Float[Tensor, "batch slot dim"],
        tokens: Float[Tensor, "batch time dim"],
        allowed: Bool[Tensor, "batch query key"],
    ) -> tuple[Float[Tensor, "batch slot dim"], Float[Tensor, "batch time dim"]]:
        pairs = zip(self.slots.project(slots), self.tokens.project(tokens), strict=True)
        query, key, value = (torch.cat(pair, dim=2) for pair in pairs)  # batch head slot+time head_dim
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed[:, None])
        of_slots, of_tokens = found.split([slots.shape[1], tokens.shape[1]], dim=2)
        return self.slots(slots, of_slots), self.tokens(tokens, of_tokens)


_NAMES = {
    "layernorm_embedding": "token_norm",
    "memory_layer_norm": "slot_norm",
    "memory_gate_net.dense": "gate.1",
    "memory_gate_net.dense2": "gate.4",
}
_LAYER_NAMES = {
    official.format(prefix): f"{stream}.{ours}"
    for prefix, stream in (("", "tokens"), ("mem_", "slots"))
    for official, ours in (
        ("self_attn.{}q_proj", "attention.query"),
        ("self_attn.{}k_proj", "attention.key"),
        ("self_attn.{}v_proj", "attention.value"),
        ("self_attn.{}out_proj", "attention.output"),
        ("{}self_attn_layer_norm", "attention_norm"),
        ("{}fc1", "ffn.expand"),
        ("{}fc2", "ffn.contract"),
        ("{}final_layer_norm", "ffn_norm"),
    )
}


def convert_membart(weights: Mapping[str, Tensor], *, prefix: str = "", position_offset: int = 2) -> dict[str, Tensor]:
    """Return official MemBART encoder weights under the names of :class:`GatedSlotEncoder`.

    Token embeddings are left out, since the encoder takes embedded tokens.

    Args:
        weights: the official state dict.
        prefix: of the encoder's names, ``"model.encoder."`` in a released checkpoint; other names are ignored.
        position_offset: rows before the first position; BART's table has two unused ones.

    Raises:
        UserError: if a name of the encoder is unknown.

    Example:
        >>> list(convert_membart({"encoder.memory_bias": torch.zeros(1, 4, 8)}, prefix="encoder."))
        ['bias']
    """
    converted = {}
    for name, weight in weights.items():
        inner = name.removeprefix(prefix)
        if not name.startswith(prefix) or inner == "embed_tokens.weight":
            continue
        if inner == "memory_bias":
            converted["bias"] = weight[0]
        elif inner == "embed_positions.weight":
            converted["positions"] = weight[position_offset:]
        else:
            converted[_our_name(inner)] = weight
    return converted


def _our_name(official: str) -> str:
    found = re.fullmatch(r"(layers\.\d+\.)?(.+)\.(weight|bias)", official)
    names = _LAYER_NAMES if found and found[1] else _NAMES
    if found is None or found[2] not in names:
        raise UserError(f"{official!r} is not a weight of a MemBART encoder; give the prefix of the encoder's names")
    return f"{found[1] or ''}{names[found[2]]}.{found[3]}"
