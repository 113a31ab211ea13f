"""Memorizing Transformers: local attention together with the nearest of many stored keys."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.buffers.local_attention import (
    T5_BUCKETS,
    DistanceBuckets,
    RelativeBias,
    local_distance,
    missing_keys,
    newest_slots,
)
from mnemic_core.buffers.ring_buffer import RingBuffer
from mnemic_core.errors import UserError, check_at_least, check_choice
from mnemic_core.layers import join_heads, split_heads
from mnemic_core.mechanism import Mechanism
from mnemic_core.memory import Detach, SegmentMemory
from mnemic_core.report import MemoryReport, memory_report
from mnemic_core.state import Device, MemoryState, SlotView, check_shape
from mnemic_core.stores.search_backend import ExactSearch, SearchBackend

Fusion = Literal["gate", "joint_softmax"]
Attention = TypeVar("Attention", bound="NeighbourAttention")

_OFFICIAL_NAMES = {
    "to_q.weight": "query.weight",
    "to_kv.weight": "key_value.weight",
    "to_out.weight": "output.weight",
    "scale": "log_scale",
    "output_gate": "output_gate",
    "rel_pos_bias.relative_attention_bias.weight": "bias.table.weight",
}


@dataclass(frozen=True)
class NeighbourState(MemoryState):
    """The latest key and value pairs of every row.

    Attributes:
        pairs: items ``[2 head dim]``, key first. Local attention sees the newest ``window`` of them; all older ones
            are searched.
    """

    pairs: RingBuffer

    def slots(self) -> SlotView:
        """Return the pairs for a memory report."""
        return self.pairs.slots()


class Neighbours(NamedTuple):
    """What a search found for every query, best first.

    Attributes:
        slot: index in the ring of pairs.
        valid: True where something was found; fewer than ``k`` pairs may be stored.
        pairs: key and value; undefined where not valid.
    """

    slot: Int[Tensor, "batch head time k"]
    valid: Bool[Tensor, "batch head time k"]
    pairs: Float[Tensor, "batch head time k 2 head_dim"]


class _Attention(NamedTuple):
    far: Tensor  # weights of what was found, batch head time k
    near: Tensor  # weights of window and segment, batch head time window+time
    found: Neighbours
    local: Tensor  # pairs of window and segment, batch window+time 2 head dim


class NeighbourAttention(SegmentMemory[NeighbourState]):
    """Attention of every token to its surroundings and to the ``k`` most similar stored tokens.

    Wu et al. 2022, "Memorizing Transformers" (arXiv:2203.08913), sections 3.1 and 3.2. With queries and keys of
    length one and a learned scale ``s`` per head::

        local = softmax(s q K_c^T + bias) V_c     c: carried window and segment, causal; T5 relative bias
        far   = softmax(s q K_m^T) V_m            m: the k stored keys with the largest q k; no bias
        y     = (g far + (1 - g) local) W_o       g = sigmoid(b), one b per head

    ``fusion="joint_softmax"`` replaces the gate by one softmax over the logits of both; this and ``output_gate`` are
    options of lucidrains/memorizing-transformers-pytorch (see :meth:`from_official`).

    A token enters the searched memory when it leaves the window, after the search, so that nothing is attended to
    twice. The oldest pair of each row leaves first.

    State: :class:`NeighbourState`, for each row ``8 (capacity + window) heads head_dim + 16`` bytes in float32; heads
    is 1 with ``shared_kv``, else ``num_heads``.

    Args:
        dim: width of tokens.
        num_heads: attention heads.
        capacity: pairs of the searched memory; 8192 to 262144 in the paper.
        head_dim: width of a head; ``dim / num_heads`` if not given.
        window: tokens before the segment that local attention sees (Transformer-XL cache).
        k: pairs that each query retrieves, fewer while fewer are stored.
        fusion: how retrieved and local values are combined.
        shared_kv: one key and value for all heads instead of one each.
        buckets: of the relative bias of local attention; None for no bias.
        output_gate: multiply the output by ``tanh`` of a learned number that starts at 0.
        backend: the search; exact if None.
        detach: ``"stored"`` detaches stored pairs, also those of the window; ``"never"`` does not. The choice of pairs
            has no gradient.

    Example:
        >>> attention = NeighbourAttention(dim=8, num_heads=2, capacity=16, window=4, k=3)
        >>> state = attention.init_state(batch=1)
        >>> for segment in torch.randn(3, 1, 5, 8):
        ...     y, state = attention(segment, state)
        >>> y.shape, int(state.pairs.count)
        (torch.Size([1, 5, 8]), 15)
    """

    def __init__(
        self,
        dim: int,
        *,
        num_heads: int = 8,
        capacity: int = 8192,
        head_dim: int | None = None,
        window: int = 512,
        k: int = 32,
        fusion: Fusion = "gate",
        shared_kv: bool = False,
        buckets: DistanceBuckets | None = T5_BUCKETS,
        output_gate: bool = False,
        backend: SearchBackend | None = None,
        detach: Detach = "stored",
    ) -> None:
        super().__init__(dim, detach)
        if head_dim is None and dim % num_heads:
            raise UserError(f"num_heads must divide dim, got dim={dim}, num_heads={num_heads}; or give head_dim")
        check_at_least(1, capacity=capacity, k=k)
        check_at_least(0, window=window)
        check_choice(Fusion, fusion=fusion)
        self.num_heads, self.head_dim = num_heads, head_dim or dim // num_heads
        self.kv_heads = 1 if shared_kv else num_heads
        self.capacity, self.window, self.k = capacity, window, min(k, capacity)
        self.backend = backend or ExactSearch()
        self.query = nn.Linear(dim, num_heads * self.head_dim, bias=False)
        self.key_value = nn.Linear(dim, 2 * self.kv_heads * self.head_dim, bias=False)
        self.output = nn.Linear(num_heads * self.head_dim, dim, bias=False)
        self.bias = RelativeBias(num_heads, buckets) if buckets else None
        # Cosines alone give nearly uniform weights, so the scale starts high; 20 as in the public code.
        self.log_scale = nn.Parameter(torch.full((num_heads,), math.log(20)))
        self.gate = nn.Parameter(torch.zeros(num_heads)) if fusion == "gate" else None
        self.output_gate = nn.Parameter(torch.zeros(1)) if output_gate else None

    @classmethod
    def from_official(
        cls: type[Attention],
        weights: Mapping[str, Tensor],
        *,
        capacity: int,
        window: int,
        k: int,
        max_distance: int = T5_BUCKETS.max_distance,
    ) -> Attention:
        """Build the layer from the weights of one ``KNNAttention`` of lucidrains/memorizing-transformers-pytorch.

        Args:
            weights: by official names, with those of ``rel_pos_bias`` if any; they determine all other sizes.
            capacity: ``max_knn_memories``.
            window: ``xl_max_memories``.
            k: ``num_retrieved_memories``.
            max_distance: of the relative bias.

        Raises:
            UserError: if a weight is missing or unknown.
        """
        needed = {"to_q.weight", "to_kv.weight", "to_out.weight", "scale"}
        if not needed <= weights.keys() <= _OFFICIAL_NAMES.keys():
            raise UserError(
                f"expected the weights {sorted(needed)} and perhaps {sorted(_OFFICIAL_NAMES.keys() - needed)}, "
                f"got {sorted(weights)}; cut off the prefix of the layer"
            )
        ours = {_OFFICIAL_NAMES[name]: tensor for name, tensor in weights.items()}
        ours["log_scale"] = ours["log_scale"].flatten()
        head_dim, dim = len(ours["key_value.weight"]) // 2, ours["key_value.weight"].shape[1]
        buckets = None
        if (table := ours.get("bias.table.weight")) is not None:
            # The official code multiplies the bias by this constant in every step.
            ours["bias.table.weight"] = table * math.sqrt(head_dim)
            buckets = DistanceBuckets(len(table), max_distance, counts_from="window")
        attention = cls(
            dim,
            num_heads=len(ours["log_scale"]),
            capacity=capacity,
            head_dim=head_dim,
            window=window,
            k=k,
            fusion="joint_softmax",
            shared_kv=True,
            buckets=buckets,
            output_gate="output_gate" in ours,
        )
        attention.load_state_dict(ours)
        return attention

    def init_state(self, batch: int, *, device: Device = None, dtype: torch.dtype | None = None) -> NeighbourState:
        """Return an empty memory with pairs of ``dtype``; bfloat16 halves its size."""
        item_shape = (2, self.kv_heads, self.head_dim)
        # One ring for both: the newest pairs are the window, and a pair that leaves it is searched without a copy.
        # The paper stores tokens at once and attends twice to those of the window.
        pairs = RingBuffer.empty(batch, self.capacity + self.window, *item_shape, device=device, dtype=dtype)
        return NeighbourState(pairs)

    def _run_segment(
        self, x: Float[Tensor, "batch time dim"], state: NeighbourState, padding: Bool[Tensor, "batch time"] | None
    ) -> tuple[Float[Tensor, "batch time dim"], NeighbourState]:
        """Retrieve, attend, then store."""
        far, near, found, local = self._attend(x, state, padding)
        recalled = (far[..., None, :] @ found.pairs[..., 1, :]).squeeze(-2)
        attended = near @ local[:, :, 1].transpose(1, 2) + recalled  # batch head time head_dim
        y: Tensor = self.output(join_heads(attended))
        if self.output_gate is not None:
            y = y * self.output_gate.tanh()
        return y, NeighbourState(state.pairs.append(local[:, self.window :], padding))

    def neighbours(self, x: Float[Tensor, "batch time dim"], state: NeighbourState) -> Neighbours:
        """Return the stored pairs that each head of each token retrieves."""
        self._check(x, state)
        return self._retrieve(self._project(x)[0], state)

    @torch.no_grad()
    def read_weights(
        self, query: Float[Tensor, "batch time dim"], state: NeighbourState
    ) -> Float[Tensor, "batch time slot"]:
        """Return the attention of each token to each carried pair, mean over heads; the rest is on its segment."""
        self._check(query, state)
        far, near, found, _ = self._attend(query, state, None)
        window_slot = newest_slots(state.pairs, self.window)[:, None, None].expand(*near.shape[:3], -1)
        slot = torch.cat([found.slot, window_slot], dim=-1).transpose(1, 2).flatten(2)
        share = torch.cat([far, near[..., : self.window]], dim=-1).transpose(1, 2).flatten(2)
        return share.new_zeros(*query.shape[:2], state.pairs.capacity).scatter_add(2, slot, share) / self.num_heads

    def report(self, state: NeighbourState, query: Float[Tensor, "batch time dim"] | None = None) -> MemoryReport:
        """Return how the memory is used, with a segment also where it attends."""
        with torch.no_grad():
            return memory_report(state, None if query is None else self.read_weights(query, state))

    def _check(self, x: Float[Tensor, "batch time width"], state: NeighbourState) -> None:
        super()._check(x, state)
        expected = (len(x), self.capacity + self.window, 2, self.kv_heads, self.head_dim)
        check_shape("pairs", state.pairs.items, expected)

    def _attend(
        self, x: Float[Tensor, "batch time dim"], state: NeighbourState, padding: Bool[Tensor, "batch time"] | None
    ) -> _Attention:
        query, pairs = self._project(x)
        row = torch.arange(len(x), device=x.device)[:, None]
        window = state.pairs.items[row, newest_slots(state.pairs, self.window)]
        local = torch.cat([window.to(pairs.dtype), pairs], dim=1)
        found = self._retrieve(query, state)
        far = (found.pairs[..., 0, :] @ query[..., None]).squeeze(-1)  # batch head time k
        near = query @ local[:, :, 0].permute(0, 2, 3, 1)  # batch head time window+time
        scale = self.log_scale.exp()[:, None, None]
        return _Attention(*self._weigh(far * scale, near * scale, found.valid, state, padding), found, local)

    def _project(
        self, x: Float[Tensor, "batch time dim"]
    ) -> tuple[Float[Tensor, "batch head time head_dim"], Float[Tensor, "batch time 2 kv_head head_dim"]]:
        """Return queries and pairs, keys of length one."""
        query = split_heads(self.query(x), self.num_heads)
        key, value = self.key_value(x).unflatten(2, (2, self.kv_heads, self.head_dim)).unbind(2)
        return F.normalize(query, dim=-1), torch.stack([F.normalize(key, dim=-1), value], dim=2)

    def _retrieve(self, query: Float[Tensor, "batch head time head_dim"], state: NeighbourState) -> Neighbours:
        batch, _, time, _ = query.shape
        items = state.pairs.items
        allowed = state.pairs.age() >= self.window
        with torch.no_grad():
            # Heads that share keys search them together.
            grouped = query.reshape(batch, self.kv_heads, self.num_heads // self.kv_heads * time, self.head_dim)
            found = self.backend(grouped, items[:, :, 0], allowed, self.k)  # batch kv_head query k
        found = found.view(batch, self.num_heads, time, self.k)
        row = torch.arange(batch, device=query.device)[:, None, None, None]
        head = torch.arange(self.num_heads, device=query.device)[:, None, None] % self.kv_heads
        slot = found.clamp(min=0)
        return Neighbours(slot, found >= 0, items[row, slot, :, head].to(query.dtype))

    def _weigh(
        self,
        far: Float[Tensor, "batch head time k"],
        near: Float[Tensor, "batch head time key"],
        valid: Bool[Tensor, "batch head time k"],
        state: NeighbourState,
        padding: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch head time k"], Float[Tensor, "batch head time key"]]:
        """Return attention weights from logits of retrieved and of local pairs."""
        time = near.shape[2]
        distance = local_distance(self.window, time, padding, near.device)
        if self.bias is not None:
            counts_from_window = self.bias.buckets.counts_from == "window"
            start = state.pairs.count.clamp(max=self.window)[:, None, None] if counts_from_window else 0
            near = near + self.bias(distance - start)
        # The lowest finite number, not -inf, which makes padding that sees nothing NaN.
        lowest = torch.finfo(near.dtype).min
        hidden = (distance < 0) | missing_keys(state.pairs.count, self.window, time, padding)[:, None]
        far, near = far.masked_fill(~valid, lowest), near.masked_fill(hidden[:, None], lowest)
        if self.gate is None:
            joint = _softmax(torch.cat([far, near], dim=-1))
            return joint[..., : self.k], joint[..., self.k :]
        # Closed while nothing is stored, where the paper's formula would scale local attention down.
        share = (self.gate.sigmoid()[:, None, None] * valid.any(-1, keepdim=True)).to(far.dtype)
        return _softmax(far) * share, _softmax(near) * (1 - share)


NEIGHBOURS = Mechanism(
    name="neighbours",
    cls=NeighbourAttention,
    place="attention",
    paper="Memorizing Transformers (ICLR 2022)",
    arxiv="2203.08913",
    objective=("context extension", "knowledge integration"),
    representation="hybrid",
    integration=("associative retrieval", "gated control", "attention fusion"),
    read="top-k keys, then attention together with the local one",
    write="append what leaves the window",
    forget="first in, first out",
    capacity="`capacity` + `window` key-value pairs per head",
    cost="O(T (T + W + M) d), the search included",
    bytes_per_row="8 * (capacity + window) * dim + 16",
    small={"num_heads": 2, "capacity": 6, "window": 3, "k": 2},
    sized=lambda sizes: {
        "num_heads": sizes.num_heads,
        "capacity": sizes.stored,
        "window": sizes.segment_length,
        "k": min(8, sizes.stored),
    },
    size_option="capacity",
)


def _softmax(logits: Float[Tensor, "*batch key"]) -> Float[Tensor, "*batch key"]:
    return logits.softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32)).to(logits.dtype)
