"""The analytic derivative of :mod:`mnemic_core.machines.turing_run`.

What is not recurrent is recomputed for all steps at once; only the recurrence runs step by step.
"""

from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mnemic_core.machines.turing_addressing import COSINE_EPS, HeadLayout, shift_sources
from mnemic_core.machines.turing_run import Moves, SegmentParameters, Views, cut_time, slot_norm


class _Chain(NamedTuple):
    """Non-recurrent factors of a group's derivative: stacked over time, or views of one step."""

    memory: Tensor  # batch width slot
    turned_memory: Tensor  # batch slot width
    keep: Tensor  # batch width slot: share of the memory that the write left
    key: Tensor  # batch head width
    turned_key: Tensor  # batch width head
    content: Tensor  # batch head slot
    weights: Tensor  # batch head slot
    reading: Tensor  # batch read_head slot
    turned_writing: Tensor  # batch slot 1
    slope: Tensor  # batch head slot: derivative of the logits of content by the product of key and slot
    cosine: Tensor  # batch head slot
    radial: Tensor  # batch head slot: derivative of the logits of content by the length of a slot, over that length
    radial_key: Tensor  # the same for the key
    add_erase: Tensor  # batch 1 2*width: what is added, and minus what is erased


class _Place(NamedTuple):
    """The same for the stages after content."""

    gate: Tensor  # batch head 1
    shift: Tensor  # (batch*head) 1 offset
    moved: Tensor  # (batch*head) slot offset: the interpolated weights once for each move
    slope: Tensor  # batch head slot: derivative of the last logits by the shifted weights
    logarithm: Tensor  # batch head slot: of the shifted weights
    gap: Tensor  # batch head slot: content minus previous weights


Stage = TypeVar("Stage", _Chain, _Place)


def _steps(stacked: Stage) -> list[Stage]:
    return [type(stacked)(*fields) for fields in zip(*(field.unbind(0) for field in stacked), strict=True)]


def _squash_slopes(parameters: SegmentParameters) -> Float[Tensor, "time batch parameter"]:
    """Return the derivative of the squashing functions; 1 for the shifts, whose softmax is not elementwise."""
    gates = parameters.gates * (1 - parameters.gates)
    gates[..., parameters.gate.shape[2] :].neg_()  # add_erase below holds -erase
    positive = -torch.expm1(torch.cat([-parameters.strength, 1 - parameters.sharpening], 2)).flatten(2)
    return torch.cat([1 - parameters.wide.square(), gates, positive, torch.ones_like(parameters.shift).flatten(2)], 2)


def _chain(
    parameters: SegmentParameters,
    layout: HeadLayout,
    group: int,
    memory: Float[Tensor, "time batch width slot"],
    content: Float[Tensor, "time batch head slot"],
    weights: Float[Tensor, "time batch head slot"],
    active: Bool[Tensor, "time batch"] | None,
) -> _Chain:
    key, strength = (cut_time(part, layout)[group] for part in (parameters.key, parameters.strength))
    add, erase = parameters.add[:, :, group, None], parameters.erase[:, :, group, None]
    key_norm, memory_norm = torch.linalg.vector_norm(key, dim=-1, keepdim=True), slot_norm(memory)
    norms = key_norm * memory_norm + COSINE_EPS
    slope, cosine = strength / norms, key @ memory / norms
    # The squares of very short slots and keys underflow to a length of 0, which must not turn their cosines, near 0 as
    # well, into infinity or NaN.
    shortest = torch.finfo(key.dtype).tiny ** 0.5
    ratio = key_norm / memory_norm.clamp(min=shortest)
    inverse = memory_norm / key_norm.clamp(min=shortest)
    reading, writing = weights.split([layout.groups[group], 1], 2)
    if active is not None:
        writing = writing * active[..., None, None]
    return _Chain(
        memory=memory,
        turned_memory=memory.transpose(2, 3),
        keep=1 - writing * erase.transpose(2, 3),
        key=key,
        turned_key=key.transpose(2, 3),
        content=content,
        weights=weights,
        reading=reading,
        turned_writing=writing.transpose(2, 3),
        slope=slope,
        cosine=cosine,
        radial=slope * cosine * ratio,
        radial_key=slope * cosine * inverse,
        add_erase=torch.cat([add, -erase], -1),
    )


def _place(
    parameters: SegmentParameters,
    layout: HeadLayout,
    group: int,
    content: Float[Tensor, "time batch head slot"],
    weights: Float[Tensor, "time batch head slot"],
    shift: Float[Tensor, "time batch_head 1 offset"],
    first: Float[Tensor, "batch head slot"],
) -> _Place:
    gate, sharpening = (cut_time(part, layout)[group] for part in (parameters.gate, parameters.sharpening))
    previous = torch.cat([first[None], weights[:-1]])
    sources = shift_sources(weights.shape[-1], layout.max_shift, weights.device)
    moved = torch.lerp(previous, content, gate).gather(-1, sources.expand(*weights.shape[:-1], -1))
    moved = moved.view(*shift.shape[:2], layout.offsets, -1)  # time batch*head offset slot
    limits = torch.finfo(weights.dtype)
    shifted = (shift @ moved).view_as(weights).clamp(min=limits.tiny)
    # An underflowed weight has the slope 0 * inf; with a finite bound it is 0.
    slope = (sharpening / shifted).clamp(max=limits.max)
    return _Place(gate, shift, moved.transpose(2, 3), slope, shifted.log(), content - previous)


class _Back:
    """The derivative of one group of heads, step by step."""

    def __init__(self, chain: _Chain, place: _Place | None, layout: HeadLayout) -> None:
        self.width, self.offsets = layout.width, layout.offsets
        self.num_reads = chain.reading.shape[2]
        self.chain, self.places = _steps(chain), None if place is None else _steps(place)
        factors = [chain.cosine, chain.radial_key, *([] if place is None else [place.logarithm, place.gap])]
        self.factors = torch.stack(factors, 1).unbind(0)
        like = chain.weights[0]
        sources = shift_sources(like.shape[-1], layout.max_shift, like.device).view(self.offsets, -1)
        self.moves = Moves(sources.flip(0).flatten(), like.shape, like)  # gradients move the opposite way

    def step(
        self,
        time: int,
        live: Bool[Tensor, "batch 1 1"] | None,
        d_memory: Float[Tensor, "batch width slot"],
        d_reads: Float[Tensor, "batch read_head width"],
        d_weights: Float[Tensor, "batch head slot"],
    ) -> list[Float[Tensor, "batch _parameter"]]:
        """Return the gradients of key, add, gate, erase, strength, sharpening and shift.

        Updates ``d_memory`` and ``d_weights`` in place from after the step to before it.
        """
        here = self.chain[time]
        d_write = self._access(here, live, d_memory, d_reads, d_weights)
        if self.places is None:
            d_similarity = torch._softmax_backward_data(d_weights, here.content, -1, d_weights.dtype)
            products, d_shift = [d_similarity], d_weights.new_zeros(len(d_weights), d_weights.shape[1] * self.offsets)
            d_weights.zero_()
        else:
            products, d_shift = self._location(here, self.places[time], d_weights)
            d_similarity = products[0]
        d_product = d_similarity * here.slope
        sums = (torch.stack([d_similarity, *products]) * self.factors[time]).sum(-1)
        d_strength, d_norm, *others = sums.unbind(0)
        d_sharpening, d_gate = others or [torch.zeros_like(d_norm)] * 2
        d_key = torch.addcmul(torch.bmm(d_product, here.turned_memory), d_norm[..., None], here.key, value=-1)
        d_memory.baddbmm_(here.turned_key, d_product)
        d_memory.addcmul_(here.memory, (d_similarity * here.radial).sum(1, keepdim=True), value=-1)
        d_add, d_erase = d_write.split(self.width, 1)
        return [d_key.flatten(1), d_add, d_gate, d_erase, d_strength, d_sharpening, d_shift]

    def _access(
        self,
        here: _Chain,
        live: Bool[Tensor, "batch 1 1"] | None,
        d_memory: Float[Tensor, "batch width slot"],
        d_reads: Float[Tensor, "batch read_head width"],
        d_weights: Float[Tensor, "batch head slot"],
    ) -> Float[Tensor, "batch add_erase"]:
        """Back-propagate through write and read; return the gradients of add and erase."""
        both = torch.cat([d_memory, d_memory * here.memory], 1)
        d_used = torch.bmm(here.add_erase, both)
        d_memory.mul_(here.keep)
        if self.num_reads:
            d_used = torch.cat([torch.bmm(d_reads, here.memory), d_used], 1)
            d_memory.baddbmm_(d_reads.transpose(1, 2), here.reading)
        d_weights.add_(d_used)
        if live is not None:
            d_weights.mul_(live)
        return torch.bmm(both, here.turned_writing).squeeze(-1)

    def _location(
        self, here: _Chain, place: _Place, d_weights: Float[Tensor, "batch head slot"]
    ) -> tuple[list[Float[Tensor, "batch head slot"]], Float[Tensor, "batch head_offset"]]:
        """Back-propagate through the stages after content; return gradients of logits and raw shift."""
        d_logits = torch._softmax_backward_data(d_weights, here.weights, -1, d_weights.dtype)
        torch.mul(d_logits, place.slope, out=self.moves.before)
        d_shift = torch.bmm(self.moves.flat_before, place.moved)
        d_shift = torch._softmax_backward_data(d_shift, place.shift, -1, d_shift.dtype)
        d_mixed = self.moves.shift(place.shift)
        d_content = d_mixed * place.gate
        torch.sub(d_mixed, d_content, out=d_weights)
        d_similarity = torch._softmax_backward_data(d_content, here.content, -1, d_content.dtype)
        return [d_similarity, d_logits, d_mixed], d_shift.view(len(d_weights), -1)


def turing_gradients(
    layout: HeadLayout,
    is_full: bool,
    recurrent: Float[Tensor, "parameter recurrent"],
    before: Float[Tensor, "time batch read_head width"],
    weights: Float[Tensor, "batch head slot"],
    active: Bool[Tensor, "time batch"] | None,
    squashed: Float[Tensor, "time batch parameter"],
    memories: Float[Tensor, "version batch width slot"],
    traces: list[tuple[Tensor, Tensor, Tensor]],
    gradients: Views,
) -> Views:
    """Return the gradients of the first five fields of :class:`ScanInputs`.

    Args:
        layout: the heads.
        is_full: all stages of addressing, or content only.
        recurrent: as in the inputs.
        before: the vectors read before each step.
        weights: as in the inputs.
        active: as in the inputs.
        squashed: the head parameters of each step.
        memories: the memory before each write, and the last one.
        traces: content weights, weights and shifts of each group.
        gradients: those of :class:`ScanResults`.
    """
    parameters = SegmentParameters.of(squashed, layout)
    groups = []
    for group, first in enumerate(layout.cut(weights)):
        content, chosen, shift = traces[group]
        memory = memories[:-1].unflatten(0, (len(before), -1))[:, group]
        chain = _chain(parameters, layout, group, memory, content, chosen, active)
        place = _place(parameters, layout, group, content, chosen, shift, first) if is_full else None
        groups.append(_Back(chain, place, layout))
    return _backpropagate(groups, _squash_slopes(parameters).unbind(0), recurrent, before, active, gradients, layout)


def _backpropagate(
    groups: list[_Back],
    slopes: Views,
    recurrent: Float[Tensor, "parameter recurrent"],
    before: Float[Tensor, "time batch read_head width"],
    active: Bool[Tensor, "time batch"] | None,
    gradients: Views,
    layout: HeadLayout,
) -> Views:
    d_outputs, last_memory, last_weights = gradients
    d_memory = last_memory.transpose(1, 2).clone(memory_format=torch.contiguous_format)
    d_weights = [part.clone(memory_format=torch.contiguous_format) for part in layout.cut(last_weights)]
    d_reads, d_drives, live, kept = d_outputs[-1], [], None, []
    arriving = [torch.zeros_like(d_reads), *d_outputs[:-1]]  # from the outputs at the reads before each step
    for time in reversed(range(len(before))):
        if active is not None:
            live = active[time, :, None, None]
            kept = [part * ~live for part in (d_reads, *d_weights)]
            d_reads = d_reads * live
            for part in d_weights:
                part.mul_(live)
        found = []
        pairs = zip(groups, d_reads.split(layout.groups, 1), d_weights, strict=True)
        for group, of_reads, of_weights in reversed(list(pairs)):
            found.append(group.step(time, live, d_memory, of_reads, of_weights))
        d_raw = torch.cat([part for parts in zip(*found[::-1], strict=True) for part in parts], 1).mul_(slopes[time])
        d_drives.append(d_raw)
        d_reads = torch.addmm(arriving[time].flatten(1), d_raw, recurrent).view_as(d_reads)
        if kept:
            d_reads = d_reads + kept[0]
            for part, old in zip(d_weights, kept[1:], strict=True):
                part.add_(old)
    d_drive = torch.stack(d_drives[::-1])
    d_recurrent = d_drive.flatten(0, 1).t() @ before.flatten(2).flatten(0, 1)
    return d_drive, d_recurrent, d_memory.transpose(1, 2), d_reads, torch.cat(d_weights, 1)
