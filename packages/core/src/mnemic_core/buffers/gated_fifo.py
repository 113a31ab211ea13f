"""A first-in-first-out bank of gated chunk summaries, with attention to segment, chunk and bank."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.buffers.ring_buffer import RingBuffer
from mnemic_core.errors import UserError, check_at_least
from mnemic_core.layers import (
    attention_weights,
    causal_mask,
    join_heads,
    or_no_padding,
    rotate,
    split_heads,
    token_positions,
)
from mnemic_core.mechanism import Mechanism
from mnemic_core.memory import SegmentMemory
from mnemic_core.state import Device


class GatedFifoMemory(SegmentMemory[RingBuffer]):
    """Three attention paths: over the segment, over the token's chunk and over a bank of past chunks.

    After "Recurrent Memory-Augmented Transformers with Chunked Attention for Long-Context Language Modeling" (Kashyap
    2025, arXiv:2507.00453). No code was released and **the equations are our reading** of its summary: three paths
    fused in one block, rotary positions per head, a learned gate as in recurrent networks, first in first out::

        y   = W_o [Attn(q, k, v) ; ChunkAttn(q, k, v) ; softmax(q K_b^T / sqrt(d_h)) V_b],   [K_b, V_b] = W_b bank
        c_i = mean of y over chunk i,   g = sigmoid(W_g [c_i ; old]),   new = g * tanh(W_c c_i) + (1 - g) * old

    Attention is causal; ``new`` replaces the oldest slot ``old``, zeros while slots are free. Rotary positions (Su et
    al. 2021, arXiv:2104.09864) count within the segment and apply to the first two paths only. The third path is zeros
    while the bank is empty. Norm and residual are those of the block around it.

    Gradients always cross segments, as the gate acts on what is stored and would not learn otherwise; detach the state
    every few segments, as :func:`~mnemic_core.training.run_segments` does.

    State: a :class:`RingBuffer` of ``capacity`` vectors; ``4 * capacity * dim + 16`` bytes per row in float32.

    Args:
        dim: width of tokens and slots.
        num_heads: attention heads; ``dim / num_heads`` must be an even integer.
        capacity: slots of the bank.
        chunk_length: tokens of a chunk, each of which writes one slot; the last of a segment may be short.

    Example:
        >>> memory = GatedFifoMemory(dim=8, capacity=4, chunk_length=2)
        >>> output, state = memory(torch.randn(1, 5, 8), memory.init_state(batch=1))
        >>> output.shape, state.count
        (torch.Size([1, 5, 8]), tensor([3]))
    """

    def __init__(self, dim: int, *, num_heads: int = 4, capacity: int = 32, chunk_length: int = 16) -> None:
        super().__init__(dim, detach="never")
        if num_heads < 1 or dim % (2 * num_heads):
            raise UserError(
                f"dim must be a multiple of 2 * num_heads, rotary positions turn pairs; "
                f"got dim={dim}, num_heads={num_heads}"
            )
        check_at_least(1, capacity=capacity, chunk_length=chunk_length)
        self.num_heads = num_heads
        self.capacity = capacity
        self.chunk_length = chunk_length
        self.project = nn.Linear(dim, 3 * dim)  # queries, keys and values
        self.bank_project = nn.Linear(dim, 2 * dim)  # keys and values
        self.output = nn.Linear(3 * dim, dim)  # of the segment's path, the chunk's and the bank's, in this order
        self.candidate = nn.Linear(dim, dim)
        self.gate = nn.Linear(2 * dim, dim)

    def init_state(self, batch: int, *, device: Device = None, dtype: torch.dtype | None = None) -> RingBuffer:
        """Return empty banks; keep ``dtype`` at float32, half precision loses a gate near 0."""
        return RingBuffer.empty(batch, self.capacity, self.dim, device=device, dtype=dtype)

    def _run_segment(
        self, x: Float[Tensor, "batch time dim"], state: RingBuffer, padding: Bool[Tensor, "batch time"] | None
    ) -> tuple[Float[Tensor, "batch time dim"], RingBuffer]:
        """Read the bank of earlier segments, then write the chunks; padding belongs to no chunk."""
        padding = or_no_padding(padding, x)
        position = token_positions(padding)
        y = self._attend(x, state, position, padding)
        return y, self._write(state, y, position, padding)

    def _attend(
        self,
        x: Float[Tensor, "batch time dim"],
        state: RingBuffer,
        position: Int[Tensor, "batch time"],
        padding: Bool[Tensor, "batch time"],
    ) -> Float[Tensor, "batch time dim"]:
        query, key, value = (split_heads(part, self.num_heads) for part in self.project(x).chunk(3, dim=-1))
        rotated, key = rotate(query, position), rotate(key, position)  # batch head time head_dim
        chunk = position // self.chunk_length
        allowed = causal_mask(padding)  # batch query key
        local = allowed & (chunk[:, :, None] == chunk[:, None])
        paths = (
            F.scaled_dot_product_attention(rotated, key, value, attn_mask=allowed[:, None]),
            F.scaled_dot_product_attention(rotated, key, value, attn_mask=local[:, None]),
            self._recall(query, state),
        )
        y: Tensor = self.output(torch.cat([join_heads(path) for path in paths], dim=-1))
        return y

    def _recall(
        self, query: Float[Tensor, "batch head time head_dim"], state: RingBuffer
    ) -> Float[Tensor, "batch head time head_dim"]:
        """Return the third path."""
        bank = self.bank_project(state.items.to(query.dtype))
        key, value = (split_heads(part, self.num_heads) for part in bank.chunk(2, dim=-1))
        return attention_weights(query, key, state.valid()[:, None, None]) @ value

    def _write(
        self,
        state: RingBuffer,
        y: Float[Tensor, "batch time dim"],
        position: Int[Tensor, "batch time"],
        padding: Bool[Tensor, "batch time"],
    ) -> RingBuffer:
        """Return the bank after the chunks of a segment, without those of padding only."""
        num_chunks = -(-y.shape[1] // self.chunk_length)
        chunk = torch.arange(num_chunks, device=y.device)[:, None]
        belongs = ((position // self.chunk_length)[:, None] == chunk) & ~padding[:, None]  # batch chunk time
        number = belongs.sum(-1, keepdim=True)
        mean = belongs.to(y.dtype) @ y / number.clamp(min=1)  # batch chunk dim
        candidate = self.candidate(mean).tanh()
        added = (number[..., 0] > 0).sum(1)
        items = state.items
        slot = torch.arange(self.capacity, device=y.device)
        # Vectorized over slots: each takes the chunk that is written to it. Segments with more chunks than slots
        # overwrite slots, which takes one iteration for each pass over the bank.
        for start in range(0, num_chunks, self.capacity):
            landing = start + (slot - state.cursor[:, None]) % self.capacity  # batch slot
            source = landing.clamp(max=num_chunks - 1)[..., None].expand(-1, -1, self.dim)
            gate = self.gate(torch.cat([mean.gather(1, source), items.to(y.dtype)], dim=-1)).sigmoid().to(items.dtype)
            new = gate * candidate.gather(1, source).to(items.dtype) + (1 - gate) * items
            items = torch.where((landing < added[:, None])[..., None], new, items)
        return RingBuffer(items, (state.cursor + added) % self.capacity, (state.count + added).clamp(max=self.capacity))


GATED_FIFO = Mechanism(
    name="gated_fifo",
    cls=GatedFifoMemory,
    place="attention",
    paper="Recurrent Memory-Augmented Transformers with Chunked Attention for Long-Context Language Modeling, "
    "our reading",
    arxiv="2507.00453",
    objective=("context extension",),
    representation="state-based",
    integration=("attention fusion", "gated control"),
    read="third attention path",
    write="gated mean of each chunk",
    forget="gate, first in, first out",
    capacity="`capacity` vectors",
    cost="O(T (T + K) d)",
    bytes_per_row="4 * capacity * dim + 16",
    small={"num_heads": 2, "capacity": 3, "chunk_length": 2},
    sized=lambda sizes: {
        "num_heads": sizes.num_heads,
        "capacity": sizes.stored,
        "chunk_length": sizes.segment_length,
    },
    size_option="capacity",
)
