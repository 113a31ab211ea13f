"""Plain forms of mechanisms of the core, as published code computes them, for ``core_speed.py`` to compare with."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.buffers import RelativeAttention
from mnemic_core.parametric import ProductKeyMemory


def best_slots(query: Tensor, keys: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return scores and slots of one head as the official product-key memory finds them (XLM, ``pq_fast``).

    Args:
        query: the head's queries, [token key_dim].
        keys: its two sets of keys, [2 sub_key key_dim/2].
        k: slots to find.
    """
    tokens, sub_keys = len(query), keys.shape[1]
    first, second = (F.linear(half, own).topk(k, dim=1) for half, own in zip(query.chunk(2, 1), keys, strict=True))
    pairs = (tokens, k, k)
    sums = first.values[:, :, None].expand(pairs) + second.values[:, None].expand(pairs)
    slots = first.indices[:, :, None].expand(pairs) * sub_keys + second.indices[:, None].expand(pairs)
    scores, best = sums.reshape(tokens, -1).topk(k, dim=1)
    return scores, slots.reshape(tokens, -1).gather(1, best)


def recall_slots(memory: ProductKeyMemory, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights and slots of all heads, one head after the other, [token head k]."""
    query = memory.query_network(x).view(-1, memory.num_heads, memory.key_dim)
    found = [best_slots(query[:, head], memory.keys[head], memory.k) for head in range(memory.num_heads)]
    scores, slots = (torch.stack(part, 1) for part in zip(*found, strict=True))
    return scores.softmax(-1), slots


def recall_values(memory: ProductKeyMemory, weights: Tensor, slots: Tensor) -> Tensor:
    """Return the weighted sum of the values that all heads of a token selected."""
    return F.embedding_bag(slots.flatten(1), memory.values, per_sample_weights=weights.flatten(1), mode="sum")


def run_turing_loop(weights: Mapping[str, Tensor], x: Tensor, slots: int, *, is_full: bool) -> Tensor:
    """Run the released Conformer-NTM loop over [batch time dim]: a frame at a time, with all that it does per frame.

    Both heads go through one linear layer each, through two cosine similarities and all four stages of addressing,
    which content addressing then leaves unused; the shift is the diagonal of a convolution of every row with every
    row's moves; outputs are appended to one tensor that grows.

    Args:
        weights: parameters by their released names, without the prefix ``ntm.``.
        x: the frames.
        slots: number of slots, empty at first.
        is_full: use all stages of addressing (the paper) or the content alone (as released).
    """
    batch, width = len(x), (len(weights["write_heads.0.fc.bias"]) - len(weights["read_heads.0.fc.bias"])) // 2
    memory, read = x.new_zeros(batch, slots, width), x.new_zeros(batch, width)
    first = F.one_hot(torch.zeros(batch, dtype=torch.long, device=x.device), slots).to(x.dtype)
    reading = writing = first
    outputs = x.new_zeros(batch, 0, x.shape[2])
    for frame in x.unbind(1):
        seen = torch.cat([frame, read], 1)
        reading, _ = _address(weights, "read_heads.0.fc", seen, memory, reading, is_full=is_full)
        read = (reading[:, None] @ memory)[:, 0]
        writing, rest = _address(weights, "write_heads.0.fc", seen, memory, writing, is_full=is_full)
        erase, add = rest[:, :width].sigmoid(), rest[:, width:].tanh()
        memory = memory * (1 - writing[:, :, None] * erase[:, None]) + writing[:, :, None] * add[:, None]
        output = F.linear(torch.cat([frame, read], 1), weights["fc.weight"], weights["fc.bias"])
        outputs = torch.cat([outputs, output[:, None]], 1)
    return outputs


def _address(
    weights: Mapping[str, Tensor], head: str, seen: Tensor, memory: Tensor, previous: Tensor, *, is_full: bool
) -> tuple[Tensor, Tensor]:
    """Return where a head looks, and what of its parameters is not for addressing."""
    width = memory.shape[2]
    parameters = F.linear(seen, weights[f"{head}.weight"], weights[f"{head}.bias"])
    key, strength, gate, shift, sharpening, rest = parameters.split(
        [width, 1, 1, 3, 1, parameters.shape[1] - width - 6], 1
    )
    likeness = F.cosine_similarity(memory, key.tanh()[:, None], dim=2)
    content = torch.softmax(F.softplus(strength) * likeness, 1)
    gate = gate.sigmoid()
    mixed = gate * content + (1 - gate) * previous
    circle = torch.cat([mixed[:, -1:], mixed, mixed[:, :1]], 1)[:, None]
    crossed = F.conv1d(circle, shift.softmax(1)[:, None])  # row moves slot
    shifted = crossed.diagonal(dim1=0, dim2=1).t()
    powers = shifted ** (1 + F.softplus(sharpening))
    sharpened = powers / (powers.sum(1, keepdim=True) + 1e-16)
    return (sharpened if is_full else content), rest


def attend(layer: RelativeAttention, x: Tensor, memory: Tensor, bias: Tensor, position: Tensor | None) -> Tensor:
    """Attend to memory and segment with the layer's projections and one fused kernel, without relative positions.

    Args:
        layer: whose weights to use.
        x: the segment.
        memory: the tokens before it.
        bias: added to the scores, ``[query key]``: -inf where a query may not see a key.
        position: encodings of all distances, to be projected too though nothing uses them; None does not.
    """

    def split(tokens: Tensor) -> Tensor:
        heads: Tensor = tokens.unflatten(-1, (layer.num_heads, layer.head_dim))
        return heads.transpose(1, 2)

    if position is not None:
        layer.position(position)
    key, value = layer.key_value(torch.cat([memory, x], 1)).chunk(2, -1)
    attended = F.scaled_dot_product_attention(split(layer.query(x)), split(key), split(value), attn_mask=bias)
    output: Tensor = layer.output(attended.transpose(1, 2).flatten(2))
    return output
