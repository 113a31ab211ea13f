"""Attention to the current window and to one summary of each past segment: augmented memory."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mnemic_core.buffers.ring_buffer import RingBuffer
from mnemic_core.errors import UserError, check_at_least, check_heads
from mnemic_core.layers import join_heads, or_no_padding, split_heads, token_positions
from mnemic_core.mechanism import Mechanism
from mnemic_core.memory import Detach, SegmentMemory
from mnemic_core.state import Device


class SummaryAttention(nn.Module):
    """Attention of frames, and of one summary query, over the frames and a bank of earlier summaries.

    With ``u`` the frames, ``S`` the summary query and ``m`` the bank (Wu et al. 2020, arXiv:2005.08042; the equations
    are those of the code released with arXiv:2307.01377)::

        [o ; m_new] = W_o softmax(suppress(q k^T + q K_r^T)) (v + V_r),  q = W_q [u ; S] / sqrt(d_h),  k, v = W [m ; u]

    ``K_r, V_r`` are learned for each distance of key and query, clamped to ``max_distance`` and shared by the heads
    (Shaw et al. 2018, arXiv:1803.02155); the bank is positioned before the frames, the summary query after them. The
    summary query does not see the bank, so that a summary contains its own segment only. Arguments are those of
    :class:`SummaryBank`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 4,
        *,
        max_distance: int = 16,
        suppression: float | None = 0.5,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        check_at_least(0, max_distance=max_distance)
        self.num_heads = num_heads
        self.max_distance = max_distance
        self.suppression = suppression
        self.dropout = dropout
        self.project = nn.Linear(dim, 3 * dim)  # queries, keys and values in one product
        self.output = nn.Linear(dim, dim)
        shape = (2 * max_distance + 1, dim // num_heads)
        self.relative_keys = nn.Parameter(torch.empty(shape)) if max_distance else None
        self.relative_values = nn.Parameter(torch.empty(shape)) if max_distance else None
        # On the stacked matrix this equals the gain of 1 / sqrt(2) of each of the three in the released code.
        nn.init.xavier_uniform_(self.project.weight)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        if self.relative_keys is not None and self.relative_values is not None:
            nn.init.xavier_normal_(self.relative_keys)
            nn.init.xavier_normal_(self.relative_values)

    def forward(
        self,
        frames: Float[Tensor, "batch time dim"],
        summary_query: Float[Tensor, "batch dim"],
        bank: RingBuffer,
        padding: Bool[Tensor, "batch time"],
    ) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch dim"]]:
        """Return the attended frames and the new summary.

        Args:
            frames: a segment and its context.
            summary_query: such as the mean of the segment.
            bank: summaries of earlier segments.
            padding: True at frames to ignore, which must not be NaN.
        """
        projected = self.project_frames(frames)
        summary = self.summarize(projected, summary_query, padding)
        return self.attend_projected(projected, bank, padding), summary

    def project_frames(
        self, frames: Float[Tensor, "batch time dim"]
    ) -> tuple[Float[Tensor, "batch head time head_dim"], ...]:
        """Return queries, keys and values of frames, for `summarize` and `attend_projected`."""
        return tuple(split_heads(part, self.num_heads) for part in self.project(frames).chunk(3, dim=-1))

    def summarize(
        self,
        projected: tuple[Float[Tensor, "batch head time head_dim"], ...],
        summary_query: Float[Tensor, "batch dim"],
        padding: Bool[Tensor, "batch time"],
    ) -> Float[Tensor, "batch dim"]:
        """Return the new summary alone.

        As it does not depend on the bank, the summaries of all segments of a sequence can be computed at once, and then
        all their frames.
        """
        dim = summary_query.shape[-1]
        query = F.linear(summary_query[:, None], self.project.weight[:dim], self.project.bias[:dim])
        distance = self._clamp(token_positions(padding) - (~padding).sum(1, keepdim=True))
        allowed = ~padding | padding.all(1, keepdim=True)
        _, key, value = projected
        found = self._attend(split_heads(query, self.num_heads), key, value, distance[:, None], allowed[:, None])
        return found[:, 0]

    def attend_projected(
        self,
        projected: tuple[Float[Tensor, "batch head time head_dim"], ...],
        bank: RingBuffer,
        padding: Bool[Tensor, "batch time"],
    ) -> Float[Tensor, "batch time dim"]:
        """Return the attended frames alone."""
        query, key, value = projected
        dim = bank.items.shape[-1]
        of_bank = F.linear(bank.items.to(key.dtype), self.project.weight[dim:], self.project.bias[dim:])
        bank_key, bank_value = (split_heads(part, self.num_heads) for part in of_bank.chunk(2, dim=-1))
        key, value = torch.cat([bank_key, key], dim=2), torch.cat([bank_value, value], dim=2)
        return self._attend(query, key, value, self._distance(bank, padding), self._allowed(bank, padding))

    def _attend(
        self,
        query: Float[Tensor, "batch head query head_dim"],
        key: Float[Tensor, "batch head key head_dim"],
        value: Float[Tensor, "batch head key head_dim"],
        distance: Int[Tensor, "batch query key"],
        allowed: Bool[Tensor, "#batch #query key"],
    ) -> Float[Tensor, "batch query dim"]:
        """Return what queries find; ``distance`` has rows of the tables, ``allowed`` is True where they see."""
        query = query * query.shape[-1] ** -0.5
        rows = distance[:, None].expand(-1, self.num_heads, -1, -1)
        logits = query @ key.mT
        if self.relative_keys is not None:
            # A product for each distance, then a look-up, avoids a [query key head_dim] table.
            logits = logits + (query @ self.relative_keys.mT).gather(-1, rows)
        weights = self._weights(logits, allowed).to(value.dtype)
        found = weights @ value
        if self.relative_values is not None:
            by_distance = weights.new_zeros(*weights.shape[:-1], 2 * self.max_distance + 1)
            found = found + by_distance.scatter_add(-1, rows, weights) @ self.relative_values
        merged: Tensor = self.output(join_heads(found))
        return merged

    def _distance(self, bank: RingBuffer, padding: Bool[Tensor, "batch time"]) -> Int[Tensor, "batch query key"]:
        """Return the row of the relative tables for each query and key; padding takes up no position."""
        place = token_positions(padding)
        keys = torch.cat([-1 - bank.age(), place], dim=1)
        return self._clamp(keys[:, None] - place[..., None])

    def _clamp(self, distance: Int[Tensor, "*place"]) -> Int[Tensor, "*place"]:
        return distance.clamp(-self.max_distance, self.max_distance) + self.max_distance

    def _allowed(self, bank: RingBuffer, padding: Bool[Tensor, "batch time"]) -> Bool[Tensor, "batch 1 key"]:
        """Return True at what frames see: all of the same row see the same."""
        allowed = torch.cat([bank.valid(), ~padding], dim=1)
        # In a row of padding only, queries see everything: the result is unused, but a NaN would reach the gradient.
        return (allowed | ~allowed.any(-1, keepdim=True))[:, None]

    def _weights(
        self, logits: Float[Tensor, "batch head query key"], allowed: Bool[Tensor, "#batch #query key"]
    ) -> Float[Tensor, "batch head query key"]:
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        logits = logits.masked_fill(~allowed[:, None], -torch.inf)
        if self.suppression is not None:
            logits = suppress_weak_attention(logits, self.suppression)
        return F.dropout(logits.softmax(-1), self.dropout, self.training)


class SummaryBank(SegmentMemory[RingBuffer]):
    """Self-attention over a window of frames and summaries of the latest segments.

    The summary of a segment is the output of :class:`SummaryAttention` for its mean. This is the augmented memory of Wu
    et al. 2020 (arXiv:2005.08042), with relative positions and weak attention suppression as in the encoder released
    with Raffel et al. 2023 (arXiv:2307.01377). Norm, residual and feed-forward are those of the block around it. Layers
    that share a bank call ``attention`` with the state of the layer that writes it.

    State: a :class:`RingBuffer` of ``capacity`` summaries; ``4 * capacity * dim + 16`` bytes per row in float32.

    Args:
        dim: width of frames and summaries.
        num_heads: attention heads; must divide ``dim``.
        capacity: summaries kept per row; to keep all, the number of segments of the longest sequence.
        max_distance: largest distance of relative positions; 0 for none.
        suppression: see :func:`suppress_weak_attention`; None for none.
        dropout: of attention weights.
        detach: ``"never"`` (the paper) lets gradients cross segments, ``"stored"`` does not.

    Example:
        >>> bank, frames = SummaryBank(dim=8, capacity=2), torch.randn(1, 3, 5, 8)
        >>> state = bank.init_state(batch=1)
        >>> for segment in frames.unbind(1):
        ...     output, state = bank(segment, state)
        >>> output.shape, state.count
        (torch.Size([1, 5, 8]), tensor([2]))
    """

    def __init__(
        self,
        dim: int,
        *,
        num_heads: int = 4,
        capacity: int = 3,
        max_distance: int = 16,
        suppression: float | None = 0.5,
        dropout: float = 0.0,
        detach: Detach = "never",
    ) -> None:
        super().__init__(dim, detach)
        check_at_least(1, "use NoMemory to keep nothing", capacity=capacity)
        self.capacity = capacity
        self.attention = SummaryAttention(
            dim, num_heads, max_distance=max_distance, suppression=suppression, dropout=dropout
        )

    def init_state(self, batch: int, *, device: Device = None, dtype: torch.dtype | None = None) -> RingBuffer:
        """Return empty banks."""
        return RingBuffer.empty(batch, self.capacity, self.dim, device=device, dtype=dtype)

    def _run_segment(
        self,
        x: Float[Tensor, "batch time dim"],
        state: RingBuffer,
        padding: Bool[Tensor, "batch time"] | None,
        center: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch time dim"], RingBuffer]:
        """Attend, then store the summary of the frames at ``center``, all if None.

        The other frames are context (see :func:`~mnemic_core.buffers.context_windows.context_windows`).
        """
        padding = or_no_padding(padding, x)
        summarized = ~padding if center is None else center & ~padding
        found, summary = self.attention(x, _mean(x, summarized), state, padding)
        # The released code truncates the bank at the next read instead, with the same result.
        return found, state.append(summary[:, None], padding=~summarized.any(1, keepdim=True))

    def run_windows(
        self,
        x: Float[Tensor, "row time dim"],
        state: RingBuffer,
        padding: Bool[Tensor, "row time"],
        center: Bool[Tensor, "row time"],
        final: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "row time dim"], RingBuffer]:
        """Attend in several consecutive windows of each sequence at once, as if one after the other.

        The summary of a segment does not depend on the summaries before it: all are computed first, then all frames.

        Args:
            x: frames of the windows; those of a sequence are consecutive rows, as many for each.
            state: banks of the sequences before the first window.
            padding: True at frames to ignore, which must not be NaN.
            center: True at the frames that are summarized.
            final: how many windows of each sequence, from the first, are stored.

        Returns:
            The attended frames, and the banks with the summaries of the final windows.
        """
        summarized = center & ~padding
        split, projected = (state.batch_size, -1), self.attention.project_frames(x)
        found = self.attention.summarize(projected, _mean(x, summarized), padding)
        summaries = found.unflatten(0, split)  # batch window dim
        if self.detach == "stored":
            summaries = summaries.detach()
        attended = self.attention.attend_projected(projected, _banks_before(state, summaries), padding)
        window = torch.arange(summaries.shape[1], device=x.device)
        left_out = (window >= final[:, None]) | ~summarized.any(1).unflatten(0, split)
        return attended, state.append(summaries, padding=left_out)


SUMMARY_BANK = Mechanism(
    name="summary_bank",
    cls=SummaryBank,
    place="attention",
    paper="Streaming Transformer-based Acoustic Models Using Self-attention with Augmented Memory (2020), with "
    "Shiftable Context (ICML 2023, arXiv 2307.01377)",
    arxiv="2005.08042",
    objective=("context extension",),
    representation="state-based",
    integration=("attention fusion",),
    read="extra keys and values",
    write="attention of a mean query",
    forget="first in, first out",
    capacity="`capacity` summaries",
    cost="O(T (T + K) d)",
    bytes_per_row="4 * capacity * dim + 16",
    # Suppression may hide the whole bank of an untrained network from the gradient probe.
    small={"num_heads": 2, "capacity": 3, "max_distance": 2, "suppression": None},
    sized=lambda sizes: {"num_heads": sizes.num_heads, "capacity": sizes.stored},
    size_option="capacity",
    is_causal=False,
)


def suppress_weak_attention(logits: Float[Tensor, "*batch key"], scale: float) -> Float[Tensor, "*batch key"]:
    """Return the logits with ``-inf`` at weak attention (Shi et al. 2020, arXiv:2005.09137).

    Weak are probabilities below ``mean - scale * std`` over the keys that are not masked; the strongest key stays.

    Args:
        logits: ``-inf`` at masked keys.
        scale: standard deviations below the mean; the paper's value is 0.5.
    """
    # Thresholds have no gradient. Half precision would be too coarse for the statistics.
    prob = logits.detach().to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1)
    seen = prob != 0
    number = seen.sum(-1, keepdim=True)
    mean = prob.sum(-1, keepdim=True) / (number + 1e-8)
    variance = (prob - mean).square().masked_fill(~seen, 0).sum(-1, keepdim=True) / (number - 1 + 1e-8)
    # The mean of equal probabilities may be rounded to more than each of them.
    threshold = torch.minimum(mean - scale * variance.sqrt(), prob.amax(-1, keepdim=True))
    return logits.masked_fill(prob < threshold, -torch.inf)


def summary_bank_from_official(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a :class:`SummaryBank` from those of the released attention (OSU-STARLAB/ShiftableContext).

    Args:
        weights: those of one layer's ``self_attn``: ``{q,k,v,out}_proj.{weight,bias}`` and, with relative positions,
            ``rpe_{k,v}.embeddings``.

    Raises:
        UserError: if a weight is missing or unknown.
    """
    rest = dict(weights)
    try:
        converted = {
            f"attention.project.{kind}": torch.cat([rest.pop(f"{part}_proj.{kind}") for part in "qkv"])
            for kind in ("weight", "bias")
        }
        converted |= {f"attention.output.{kind}": rest.pop(f"out_proj.{kind}") for kind in ("weight", "bias")}
        if "rpe_k.embeddings" in rest:
            converted["attention.relative_keys"] = rest.pop("rpe_k.embeddings")
            converted["attention.relative_values"] = rest.pop("rpe_v.embeddings")
    except KeyError as error:
        raise UserError(f"the weights of the attention lack {error}; give those of one layer") from None
    if rest:
        raise UserError(f"unknown weights {sorted(rest)}; give those of one layer's self_attn, without its prefix")
    return converted


def _banks_before(bank: RingBuffer, summaries: Float[Tensor, "batch window dim"]) -> RingBuffer:
    """Return what the bank holds before each of several windows, one row each: the latest summaries before it."""
    number = summaries.shape[1]
    before = bank.count[:, None] + torch.arange(number, device=summaries.device)  # batch window
    count = before.clamp(max=bank.capacity)
    place = (before - count)[..., None] + torch.arange(bank.capacity, device=summaries.device)  # batch window slot
    old = bank.count[:, None, None]
    index = torch.where(place < old, place, bank.capacity + place - old).clamp(max=bank.capacity + number - 1)
    known = torch.cat([bank.ordered().to(summaries.dtype), summaries], dim=1)
    held = known.gather(1, index.flatten(1)[..., None].expand(-1, -1, known.shape[-1])).unflatten(1, (number, -1))
    held = held.masked_fill((place >= before[..., None])[..., None], 0).flatten(0, 1)
    return RingBuffer(held, (count % bank.capacity).flatten(), count.flatten())


def _mean(x: Float[Tensor, "batch time dim"], chosen: Bool[Tensor, "batch time"]) -> Float[Tensor, "batch dim"]:
    """Return the mean of chosen frames, 0 of none."""
    number = chosen.sum(1, keepdim=True).clamp(min=1)
    return x.masked_fill(~chosen[..., None], 0).sum(1) / number
