"""The memory of MeMOTR: how a frame's output changes the query of each track."""

from dataclasses import replace
from typing import Any, TypeVar, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mnemic_core import MemoryState, ReadWriteMemory
from mnemic_vision.memotr.embeddings import logit, sine_boxes
from mnemic_vision.memotr.layers import FeedForward, Mlp
from mnemic_vision.memotr.tracks import TrackState

Tracks = TypeVar("Tracks", bound=TrackState)


class TrackMemory(nn.Module):
    """Short-term fusion of two frames, attention between tracks keyed by long-term memory, confident writes.

    For each track with decoder output o, last confident output p, long-term memory m, box embedding e::

        w = sigmoid(MLP(o))                      channel gate ("confidence weight")
        u = MLP([w * o ; p])                     short-term memory
        a = MHA(Q = u + e, K = m + e, V = o)     over the tracks of the stream
        f = FFN(LN(m + FFN(LN(o + a))))          the next query

    Query, memory, last output and reference change only where the class score is above ``update_threshold``; a
    frozen track still takes part in the attention of the others. Paper, section 3.

    Args:
        memory: the long-term memory, one row a track. Without content it must return the query (`NoMemory` always
            does), so that m = o then.
        num_heads: heads of the attention between tracks.
        ffn_dim: hidden width of the feed-forward blocks.
        update_threshold: class score above which a track changes.
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
        _xavier(self)

    def start(self, tracks: Tracks, newborn: Bool[Tensor, "batch track"]) -> Tracks:
        """Return the tracks with the memories of the newborn begun: long-term by the query, short-term by the output.

        The paper's Figure 1 starts the memory from the detect embedding; the official code, whose checkpoints are
        released, from the input of the last decoder layer, which is what a newborn's ``query`` holds.
        """
        rows = newborn.flatten()
        memory = self.memory.reset(tracks.memory, rows)
        return replace(
            tracks,
            memory=self.memory.write(memory, self._content(tracks).flatten(0, 1)[:, None], padding=~rows[:, None]),
            last_output=torch.where(newborn[..., None], tracks.output, tracks.last_output),
        )

    def forward(self, tracks: Tracks) -> Tracks:
        """Return the tracks as queries of the next frame."""
        confident = tracks.valid & (tracks.scores > self.update_threshold)
        gate = confident[..., None]
        output = tracks.output  # batch track dim
        # Detached: refinement learns from its own frame, as between decoder layers.
        reference = torch.where(gate, logit(tracks.boxes.detach()), tracks.reference)
        position = self.position_head(sine_boxes(reference.sigmoid(), self.memory.dim))
        long_term = self.recall(tracks)  # without gradient for the paper's memory, which detaches what it stores
        weighted = self.channel_gate(output).sigmoid() * output
        short_term = self.short_term(torch.cat([weighted, tracks.last_output], dim=-1))
        found = self._attend(short_term + position, long_term + position, output, tracks.valid)
        found = self.attention_ffn(self.attention_norm(output + found))
        content = self.query_ffn(self.query_norm(long_term + found))
        rows = confident.flatten()  # one row of the memory a slot of any stream
        return replace(
            tracks,
            reference=reference,
            query=torch.where(gate, self._query(tracks, content), tracks.query),
            last_output=torch.where(gate, output, tracks.last_output),
            memory=self.memory.write(tracks.memory, output.flatten(0, 1)[:, None], padding=~rows[:, None]),
        )

    def recall(self, tracks: TrackState) -> Float[Tensor, "batch track dim"]:
        """Return the long-term memory of each track, asked with its present output."""
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
        """Attend to the valid tracks; every slot may see itself, so that a stream without tracks stays finite."""
        itself = torch.eye(valid.shape[1], dtype=torch.bool, device=valid.device)
        # MultiheadAttention wants one mask a head, heads within a sample next to each other.
        allowed = (valid[:, None] | itself).repeat_interleave(self.num_heads, dim=0)
        found: Tensor = self.attention(query, key, value, attn_mask=~allowed, need_weights=False)[0]
        return found

    def _content(self, tracks: TrackState) -> Float[Tensor, "batch track dim"]:
        """Return the content of the queries."""
        return tracks.query

    def _query(
        self, tracks: TrackState, content: Float[Tensor, "batch track dim"]
    ) -> Float[Tensor, "batch track query_dim"]:
        """Return the next queries, given their content."""
        return content


class DeformableTrackMemory(TrackMemory):
    """The memory where queries are positions and content: it moves the positions too."""

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
        _xavier(self.position_update)

    def _content(self, tracks: TrackState) -> Float[Tensor, "batch track dim"]:
        return tracks.query.chunk(2, dim=-1)[1]

    def _query(
        self, tracks: TrackState, content: Float[Tensor, "batch track dim"]
    ) -> Float[Tensor, "batch track query_dim"]:
        position = tracks.query.chunk(2, dim=-1)[0]
        return torch.cat([self.position_norm(position + self.position_update(tracks.output)), content], dim=-1)


def _xavier(module: nn.Module) -> None:
    """Initialise all matrices of a module as the official code does."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
