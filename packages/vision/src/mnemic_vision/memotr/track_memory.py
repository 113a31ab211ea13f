"""The memory of MeMOTR: the update of the track queries after each frame (paper, section 3)."""

from dataclasses import replace
from typing import Any, TypeVar, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mnemic_core import MemoryState, ReadWriteMemory
from mnemic_vision.initialization import init_xavier
from mnemic_vision.memotr.embeddings import logit, sine_boxes
from mnemic_vision.memotr.layers import FeedForward, Mlp
from mnemic_vision.memotr.tracks import TrackState

Tracks = TypeVar("Tracks", bound=TrackState)


class TrackMemory(nn.Module):
    """Short-term fusion of two frames, attention between tracks keyed by long-term memory, confident writes.

    For each track with decoder output o, last confident output p, long-term memory m and box embedding e::

        w = sigmoid(MLP(o))                      channel gate ("confidence weight")
        u = MLP([w * o ; p])                     short-term memory
        a = MHA(Q = u + e, K = m + e, V = o)     over the tracks of the stream
        f = FFN(LN(m + FFN(LN(o + a))))          the next query

    Query, memory, last output and reference only change where the class score is above ``update_threshold``; the
    other tracks attend to an unchanged one all the same.

    Args:
        memory: long-term memory with one row per track; an empty one must return the query, so that m = o.
        num_heads: heads of the attention between tracks.
        ffn_dim: hidden width of the feed-forward blocks.
        update_threshold: class score above which a track is updated.
        dropout: dropout in attention and feed-forward blocks.
    """

    def __init__(
        self,
        memory: ReadWriteMemory[Any],
        num_heads: int = 8,
        ffn_dim: int = 2048,
        update_threshold: float = 0.5,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.memory = memory
        self.num_heads = num_heads
        self.update_threshold = update_threshold
        dim = memory.dim
        self.channel_gate = Mlp(dim, dim, dim)
        self.short_term = Mlp(2 * dim, 2 * dim, dim)
        self.position_head = Mlp(2 * dim, dim, dim)
        self.attention = nn.MultiheadAttention(dim, num_heads, dropout, batch_first=True)
        self.attention_norm = nn.LayerNorm(dim)
        self.attention_ffn = FeedForward(dim, ffn_dim, dropout)
        self.query_norm = nn.LayerNorm(dim)
        self.query_ffn = FeedForward(dim, ffn_dim, dropout)
        init_xavier(self)

    def start(self, tracks: Tracks, newborn: Bool[Tensor, "batch track"]) -> Tracks:
        """Return the tracks with the memories of the newborn set: long-term to the query, short-term to the output.

        In the paper's Figure 1 the memory starts from the detect embedding; in the official code, whose checkpoints are
        released, from the input of the last decoder layer, which is the ``query`` of a newborn.
        """
        rows = newborn.flatten()
        memory = self.memory.reset(tracks.memory, rows)
        return replace(
            tracks,
            memory=self.memory.write(
                memory, tracks.query[..., -self.memory.dim :].flatten(0, 1)[:, None], padding=~rows[:, None]
            ),
            last_output=torch.where(newborn[..., None], tracks.output, tracks.last_output),
        )

    def forward(self, tracks: Tracks) -> Tracks:
        """Return the tracks as queries of the next frame."""
        confident = tracks.valid & (tracks.scores > self.update_threshold)
        gate = confident[..., None]
        output = tracks.output  # batch track dim
        # Detached, as between decoder layers.
        reference = torch.where(gate, logit(tracks.boxes.detach()), tracks.reference)
        position = self.position_head(sine_boxes(reference.sigmoid(), self.memory.dim))
        long_term = self.recall(tracks)  # no gradient with the paper's memory
        weighted = self.channel_gate(output).sigmoid() * output
        short_term = self.short_term(torch.cat([weighted, tracks.last_output], dim=-1))
        found = self._attend(short_term + position, long_term + position, output, tracks.valid)
        found = self.attention_ffn(self.attention_norm(output + found))
        content = self.query_ffn(self.query_norm(long_term + found))
        rows = confident.flatten()  # rows of the memory
        return replace(
            tracks,
            reference=reference,
            query=torch.where(gate, self._query(tracks, content), tracks.query),
            last_output=torch.where(gate, output, tracks.last_output),
            memory=self.memory.write(tracks.memory, output.flatten(0, 1)[:, None], padding=~rows[:, None]),
        )

    def recall(self, tracks: TrackState) -> Float[Tensor, "batch track dim"]:
        """Return the long-term memory of each track, read with its current output."""
        query = tracks.output.flatten(0, 1)[:, None]  # row 1 dim
        return self.memory.read(query, tracks.memory).reshape(tracks.output.shape)

    def init_memory(self, rows: int, device: torch.device | str | None = None) -> MemoryState:
        """Return the empty long-term memory of ``rows`` tracks."""
        return cast(MemoryState, self.memory.init_state(rows, device=device))

    def _attend(
        self,
        query: Float[Tensor, "batch track dim"],
        key: Float[Tensor, "batch track dim"],
        value: Float[Tensor, "batch track dim"],
        valid: Bool[Tensor, "batch track"],
    ) -> Float[Tensor, "batch track dim"]:
        """Attend to the valid tracks and, so that a stream without tracks stays finite, each slot to itself."""
        itself = torch.eye(valid.shape[1], dtype=torch.bool, device=valid.device)
        # MultiheadAttention expects a mask per sample and head.
        allowed = (valid[:, None] | itself).repeat_interleave(self.num_heads, dim=0)
        found: Tensor = self.attention(query, key, value, attn_mask=~allowed, need_weights=False)[0]
        return found

    def _query(
        self, tracks: TrackState, content: Float[Tensor, "batch track dim"]
    ) -> Float[Tensor, "batch track query_dim"]:
        """Return the next queries with the given content."""
        return content


class DeformableTrackMemory(TrackMemory):
    """The memory for queries of positions and content, which updates the positions too."""

    def __init__(
        self,
        memory: ReadWriteMemory[Any],
        num_heads: int = 8,
        ffn_dim: int = 1024,
        update_threshold: float = 0.5,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(memory, num_heads, ffn_dim, update_threshold, dropout)
        self.position_update = Mlp(memory.dim, memory.dim, memory.dim)
        self.position_norm = nn.LayerNorm(memory.dim)
        init_xavier(self.position_update)

    def _query(
        self, tracks: TrackState, content: Float[Tensor, "batch track dim"]
    ) -> Float[Tensor, "batch track query_dim"]:
        position = tracks.query.chunk(2, dim=-1)[0]
        return torch.cat([self.position_norm(position + self.position_update(tracks.output)), content], dim=-1)
