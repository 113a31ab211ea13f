"""The memory of MeMOTR: how a frame's output changes the query of each track (its module ``query_updater``)."""

from dataclasses import replace
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mnemic_core import MemoryState, ReadWriteMemory
from mnemic_vision.memotr.config import MemotrConfig
from mnemic_vision.memotr.embeddings import logit, sine_boxes
from mnemic_vision.memotr.layers import FeedForward, Mlp
from mnemic_vision.memotr.tracks import TrackState, join_rows, split_rows


class TrackMemory(nn.Module):
    """Short-term fusion of two frames, attention between tracks keyed by long-term memory, confident writes.

    For each track with decoder output o, last confident output p, long-term memory m, box embedding e::

        w = sigmoid(MLP(o))                      channel gate ("confidence weight")
        u = MLP([w * o ; p])                     short-term memory
        a = MHA(Q = u + e, K = m + e, V = o)     over the tracks of the stream
        f = FFN(LN(m + FFN(LN(o + a))))          the next query

    Query, memory, last output and reference change only where the class score is above ``update_threshold``; a
    frozen track still takes part in the attention of the others. Source: `models/query_updater.py` of the official
    code; paper, section 3.

    Args:
        config: sizes and threshold.
        memory: the long-term memory from `mnemic_core`, one row a track. Without content it must return the query
            (`NoMemory` always does), so that m = o then.
    """

    def __init__(self, config: MemotrConfig, memory: ReadWriteMemory[Any]) -> None:
        super().__init__()
        self.config = config
        self.memory = memory
        dim = config.dim
        self.channel_gate = Mlp(dim, dim, dim)
        self.short_term = Mlp(2 * dim, 2 * dim, dim)
        self.position_head = Mlp(2 * dim, dim, dim)
        self.attention = nn.MultiheadAttention(dim, config.memory_heads, config.dropout, batch_first=True)
        self.attention_norm = nn.LayerNorm(dim)
        self.attention_ffn = FeedForward(dim, config.ffn_dim, config.dropout)
        self.query_norm = nn.LayerNorm(dim)
        self.query_ffn = FeedForward(dim, config.ffn_dim, config.dropout)
        if config.detector == "deformable":
            self.position_update = Mlp(dim, dim, dim)
            self.position_norm = nn.LayerNorm(dim)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def start(self, tracks: TrackState, newborn: Bool[Tensor, "batch track"]) -> TrackState:
        """Return the tracks with the memories of the newborn begun: long-term by the query, short-term by the output.

        The paper's Figure 1 starts the memory from the detect embedding; the official code, whose checkpoints are
        released, from the input of the last decoder layer, which is what a newborn's ``query`` holds.
        """
        rows = newborn.flatten()
        memory = self.memory.reset(join_rows(tracks.memory), rows)
        memory = self.memory.write(memory, self._content(tracks).flatten(0, 1)[:, None], padding=~rows[:, None])
        return replace(
            tracks,
            memory=split_rows(memory, newborn.shape[0]),
            last_output=torch.where(newborn[..., None], tracks.output, tracks.last_output),
        )

    def forward(self, tracks: TrackState) -> TrackState:
        """Return the tracks as queries of the next frame."""
        confident = tracks.valid & (tracks.scores > self.config.update_threshold)
        gate = confident[..., None]
        reference = torch.where(gate, logit(tracks.boxes.detach()), tracks.reference)
        position = self.position_head(sine_boxes(reference.sigmoid(), self.config.dim))
        long_term = self.recall(tracks)
        output = tracks.output
        weighted = self.channel_gate(output).sigmoid() * output
        short_term = self.short_term(torch.cat([weighted, tracks.last_output], dim=-1))
        found = self._attend(short_term + position, long_term + position, output, tracks.valid)
        found = self.attention_ffn(self.attention_norm(output + found))
        content = self.query_ffn(self.query_norm(long_term + found))
        rows = confident.flatten()
        written = self.memory.write(join_rows(tracks.memory), output.flatten(0, 1)[:, None], padding=~rows[:, None])
        return replace(
            tracks,
            reference=reference,
            query=torch.where(gate, self._query(tracks, content), tracks.query),
            last_output=torch.where(gate, output, tracks.last_output),
            memory=split_rows(written, confident.shape[0]),
        )

    def recall(self, tracks: TrackState) -> Float[Tensor, "batch track dim"]:
        """Return the long-term memory of each track, asked with its present output."""
        query = tracks.output.flatten(0, 1)[:, None]
        found = self.memory.read(query, join_rows(tracks.memory))
        return found.reshape(tracks.output.shape)

    def init_memory(self, rows: int, device: torch.device | str | None = None) -> MemoryState:
        """Return the empty long-term memory of so many tracks."""
        return cast(MemoryState, self.memory.init_state(rows, device=device))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, valid: Tensor) -> Tensor:
        """Attend to the valid tracks; every slot may see itself, so that a stream without tracks stays finite."""
        itself = torch.eye(valid.shape[1], dtype=torch.bool, device=valid.device)
        blocked = ~(valid[:, None] | itself)
        blocked = blocked.repeat_interleave(self.config.memory_heads, dim=0)
        found: Tensor = self.attention(query, key, value, attn_mask=blocked, need_weights=False)[0]
        return found

    def _content(self, tracks: TrackState) -> Tensor:
        return tracks.query[..., -self.config.dim :]

    def _query(self, tracks: TrackState, content: Tensor) -> Tensor:
        """Return the stored form of the query; the deformable variant also moves its position half."""
        if self.config.detector == "dab":
            return content
        position = tracks.query[..., : self.config.dim]
        return torch.cat([self.position_norm(position + self.position_update(tracks.output)), content], dim=-1)
