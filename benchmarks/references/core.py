"""Plain forms of mechanisms of the core, as in published code, as references of ``core_speed.py``."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from mnemic_core.buffers import RelativeAttention
from mnemic_core.parametric import ProductKeyMemory


def best_slots(
    query: Float[Tensor, "token key_dim"], keys: Float[Tensor, "2 sub_key half"], k: int
) -> tuple[Float[Tensor, "token k"], Int[Tensor, "token k"]]:
    """Return scores and indices of the ``k`` best slots of one head, as the official code (XLM, ``pq_fast``)."""
    tokens, sub_keys = len(query), keys.shape[1]
    first, second = (F.linear(half, own).topk(k, dim=1) for half, own in zip(query.chunk(2, 1), keys, strict=True))
    pairs = (tokens, k, k)
    # Sums of all pairs of the best halves; the best pairs are among them.
    sums = first.values[:, :, None].expand(pairs) + second.values[:, None].expand(pairs)
    slots = first.indices[:, :, None].expand(pairs) * sub_keys + second.indices[:, None].expand(pairs)
    scores, best = sums.reshape(tokens, -1).topk(k, dim=1)
    return scores, slots.reshape(tokens, -1).gather(1, best)


def recall_slots(
    memory: ProductKeyMemory, x: Float[Tensor, "token dim"]
) -> tuple[Float[Tensor, "token head k"], Int[Tensor, "token head k"]]:
    """Return weights and slots of all heads, computed one head at a time."""
    query = memory.query_network(x).view(-1, memory.num_heads, memory.key_dim)
    found = [best_slots(query[:, head], memory.keys[head], memory.k) for head in range(memory.num_heads)]
    scores, slots = (torch.stack(part, 1) for part in zip(*found, strict=True))
    return scores.softmax(-1), slots


def recall_values(
    memory: ProductKeyMemory, weights: Float[Tensor, "token head k"], slots: Int[Tensor, "token head k"]
) -> Float[Tensor, "token dim"]:
    """Return the weighted sum of the values that the heads of a token selected."""
    return F.embedding_bag(slots.flatten(1), memory.values, per_sample_weights=weights.flatten(1), mode="sum")


def run_turing_loop(
    weights: Mapping[str, Float[Tensor, "*_shape"]], x: Float[Tensor, "batch time dim"], slots: int, *, is_full: bool
) -> Float[Tensor, "batch time dim"]:
    """Run the released Conformer-NTM loop, frame by frame with all its computations.

    Each head computes all four stages of addressing, even if content addressing alone is used; the shift is the
    diagonal of a convolution of every row with the shifts of every row; outputs are concatenated to a growing tensor.

    Args:
        weights: parameters by their released names, without the prefix ``ntm.``.
        x: the frames.
        slots: number of slots, zero at first.
        is_full: use all stages of addressing (the paper) or the content alone (the release).
    """
    batch, width = len(x), (len(weights["write_heads.0.fc.bias"]) - len(weights["read_heads.0.fc.bias"])) // 2
    memory, read = x.new_zeros(batch, slots, width), x.new_zeros(batch, width)
    # Both heads start at the first slot.
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
    weights: Mapping[str, Float[Tensor, "*_shape"]],
    head: str,
    seen: Float[Tensor, "batch in_dim"],
    memory: Float[Tensor, "batch slot width"],
    previous: Float[Tensor, "batch slot"],
    *,
    is_full: bool,
) -> tuple[Float[Tensor, "batch slot"], Float[Tensor, "batch rest"]]:
    """Return the weights of a head over the slots, and its outputs that are not used for addressing."""
    width = memory.shape[2]
    parameters = F.linear(seen, weights[f"{head}.weight"], weights[f"{head}.bias"])
    key, strength, gate, shift, sharpening, rest = parameters.split(
        [width, 1, 1, 3, 1, parameters.shape[1] - width - 6], 1
    )
    similarity = F.cosine_similarity(memory, key.tanh()[:, None], dim=2)
    content = torch.softmax(F.softplus(strength) * similarity, 1)
    gate = gate.sigmoid()
    mixed = gate * content + (1 - gate) * previous
    # Circular, by padding on both sides.
    circle = torch.cat([mixed[:, -1:], mixed, mixed[:, :1]], 1)[:, None]
    crossed = F.conv1d(circle, shift.softmax(1)[:, None])  # row moves slot
    shifted = crossed.diagonal(dim1=0, dim2=1).t()
    powers = shifted ** (1 + F.softplus(sharpening))
    sharpened = powers / (powers.sum(1, keepdim=True) + 1e-16)
    return (sharpened if is_full else content), rest


def attend(
    layer: RelativeAttention,
    x: Float[Tensor, "batch time dim"],
    memory: Float[Tensor, "batch capacity dim"],
    bias: Float[Tensor, "time key"],
    position: Float[Tensor, "key dim"] | None,
) -> Float[Tensor, "batch time dim"]:
    """Attend to memory and segment with the layer's projections and one fused kernel, without relative positions.

    Args:
        layer: layer with the weights.
        x: the segment.
        memory: the tokens before it.
        bias: added to the scores; -inf where a query may not see a key.
        position: encodings of all distances, projected for equal work but not used; None: no projection.
    """

    def split(tokens: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch head token head_dim"]:
        heads: Tensor = tokens.unflatten(-1, (layer.num_heads, layer.head_dim))
        return heads.transpose(1, 2)

    if position is not None:
        layer.position(position)
    key, value = layer.key_value(torch.cat([memory, x], 1)).chunk(2, -1)
    attended = F.scaled_dot_product_attention(split(layer.query(x)), split(key), split(value), attn_mask=bias)
    output: Tensor = layer.output(attended.transpose(1, 2).flatten(2))
    return output
