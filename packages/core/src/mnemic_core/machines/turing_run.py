"""The recurrence of a Neural Turing Machine over a segment, with few kernels per step and no graph.

Steps write into preallocated tensors of the segment through views that are made once, so that a step is about twenty
kernels and nothing else. The equations are those of :mod:`mnemic_core.machines.turing_addressing`; time is the first
axis, and memory is [batch width slot], because there are many narrow slots.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemic_core.machines.turing_addressing import COSINE_EPS, HeadLayout, shift_sources

Views = tuple[Tensor, ...]


class ScanInputs(NamedTuple):
    """What a run over a segment starts from.

    Attributes:
        drive: the controller's part of the head parameters before squashing, for at least one step.
        recurrent: maps the vectors read in the previous step to their part of the head parameters.
        memory: the slots before the segment.
        reads: the vectors read last.
        weights: the last weights, heads in the order of use.
        active: False at tokens to ignore; None if there are none.
    """

    drive: Float[Tensor, "time batch parameter"]
    recurrent: Float[Tensor, "parameter recurrent"]
    memory: Float[Tensor, "batch slot width"]
    reads: Float[Tensor, "batch read_head width"]
    weights: Float[Tensor, "batch head slot"]
    active: Bool[Tensor, "time batch"] | None


class ScanResults(NamedTuple):
    """The vectors read in every step, and memory and weights after the last one."""

    reads: Float[Tensor, "time batch read_head width"]
    memory: Float[Tensor, "batch slot width"]
    weights: Float[Tensor, "batch head slot"]


class SegmentParameters(NamedTuple):
    """Head parameters of a segment as views of one tensor [time batch parameter].

    The first three are the parts squashed by tanh, sigmoid and softplus.
    """

    wide: Tensor
    gates: Tensor
    positive: Tensor
    key: Tensor  # time batch head width
    add: Tensor  # time batch write_head width
    gate: Tensor  # time batch head 1
    erase: Tensor  # time batch write_head width
    strength: Tensor  # time batch head 1
    sharpening: Tensor  # time batch head 1
    shift: Tensor  # time batch head offset, before its softmax

    @classmethod
    def of(cls, stacked: Tensor, layout: HeadLayout) -> "SegmentParameters":
        """Return the views of the layout."""
        wide, gates, positive, shift = stacked.split(layout.sizes, -1)
        key, add = wide.unflatten(-1, (-1, layout.width)).split([layout.heads, layout.write_heads], 2)
        gate, erase = gates.split([layout.heads, layout.write_heads * layout.width], -1)
        strength, sharpening = positive.unflatten(-1, (2, layout.heads, 1)).unbind(2)
        shift = shift.unflatten(-1, (layout.heads, layout.offsets))
        erase = erase.unflatten(-1, (-1, layout.width))
        return cls(wide, gates, positive, key, add, gate[..., None], erase, strength, sharpening, shift)


class GroupTrace(NamedTuple):
    """Inputs and results of a group of heads: stacked over time, or views of one step."""

    key: Tensor
    strength: Tensor
    gate: Tensor
    sharpening: Tensor
    raw_shift: Tensor
    shift: Tensor  # batch head offset
    flat_shift: Tensor  # (batch*head) 1 offset
    content: Tensor  # batch head slot
    weights: Tensor  # batch head slot
    reading: Tensor  # batch read_head slot
    writing: Tensor  # batch 1 slot
    erase: Tensor  # batch width 1
    add: Tensor  # batch width 1
    reads: Tensor  # batch read_head width

    def steps(self) -> "list[GroupTrace]":
        """Return the views of every step."""
        return [GroupTrace(*fields) for fields in zip(*map(unbind_time, self), strict=True)]


class Moves:
    """Buffers for one shift of a group's weights.

    Args:
        sources: see :func:`shift_sources`.
        shape: batch, head and slot.
        like: tensor of the same type and device.
    """

    def __init__(self, sources: Int[Tensor, " move"], shape: torch.Size, like: Float[Tensor, "..."]) -> None:
        self.sources = sources
        self.before, self.after = like.new_empty(shape), like.new_empty(shape)
        self.flat_before, self.flat_after = (each.view(-1, 1, shape[2]) for each in (self.before, self.after))
        self.rows = self.before.view(-1, shape[2])
        self.moved = like.new_empty(len(self.rows), len(sources))
        self.flat_moved = self.moved.view(len(self.rows), -1, shape[2])

    def shift(self, shift: Float[Tensor, "batch_head 1 offset"]) -> Float[Tensor, "batch head slot"]:
        """Return ``before`` shifted, valid until the next call."""
        torch.index_select(self.rows, 1, self.sources, out=self.moved)  # a third of the time of gather
        torch.bmm(shift, self.flat_moved, out=self.flat_after)
        return self.after


def allocate(like: Float[Tensor, "..."], shape: tuple[int, ...], keep: bool) -> Float[Tensor, "..."]:
    """Return an empty tensor with memory for every step, or without ``keep`` the same memory for all; time first."""
    return like.new_empty(shape) if keep else like.new_empty(shape[1:]).expand(shape)


def unbind_time(stacked: Float[Tensor, "time ..."]) -> Views:
    """Return the views of all steps; where they share their memory one view serves all, which takes less time."""
    return stacked.unbind(0) if stacked.stride(0) else (stacked[0],) * len(stacked)


def slot_norm(memory: Float[Tensor, "*batch width slot"]) -> Float[Tensor, "*batch 1 slot"]:
    """Return the norm of every slot."""
    # A product with ones: on a CPU a norm over an axis other than the last is many times slower.
    ones = memory.new_ones(1, memory.shape[-2])
    return (ones @ memory.square()).sqrt_()


class TuringRun:
    """One run over a segment.

    Args:
        inputs: what it starts from.
        layout: the heads.
        is_full: all stages of addressing, or content only.
        keep: store what the derivative needs, such as the memory before every write; else each step overwrites it.
    """

    def __init__(self, inputs: ScanInputs, layout: HeadLayout, *, is_full: bool, keep: bool) -> None:
        drive, recurrent, memory, reads, weights, active = inputs
        time, batch, slots = len(drive), *memory.shape[:2]
        self.layout, self.is_full, self.active = layout, is_full, active
        self.driven = drive.clone()
        self.squashed = self.driven if keep else allocate(drive, drive.shape, keep)
        self.outputs = drive.new_empty(time, *reads.shape)
        versions = time * layout.write_heads + 1
        self.memories = allocate(drive, (versions, batch, layout.width, slots), keep)
        self.memories[0] = memory.transpose(1, 2)
        self.parts = self._cut(SegmentParameters.of(self.squashed, layout), slots, keep)
        self.versions, self.turned = map(unbind_time, (self.memories, self.memories.transpose(2, 3)))
        self.last = list(layout.cut(weights))
        sources = shift_sources(slots, layout.max_shift, drive.device)
        self.moves = [Moves(sources, part.shape, part) for part in self.last]
        self.eps, self.ones = drive.new_full((), COSINE_EPS), drive.new_ones(batch, 1, layout.width)
        self._unroll(recurrent, reads)

    def results(self) -> ScanResults:
        """Return what the run computed."""
        memory = self.memories[-1].transpose(1, 2).contiguous()
        return ScanResults(self.outputs, memory, torch.cat([part.weights[-1] for part in self.parts], 1))

    def _cut(self, parameters: SegmentParameters, slots: int, keep: bool) -> list[GroupTrace]:
        time, batch = self.squashed.shape[:2]
        shared = (parameters.key, parameters.strength, parameters.gate, parameters.sharpening, parameters.shift)
        cut = [cut_time(part, self.layout) for part in shared]
        reads = self.outputs.split(self.layout.groups, 2)
        parts = []
        for group, (*own, raw_shift) in enumerate(zip(*cut, strict=True)):
            num_reads = self.layout.groups[group]
            shape = (time, batch, num_reads + 1, slots)
            weights = allocate(raw_shift, shape, keep or self.active is not None)  # at ignored tokens they stay
            content = allocate(weights, shape, keep) if self.is_full else weights
            shift = allocate(raw_shift, raw_shift.shape, keep)
            flat_shift = shift.flatten(1, 2).unsqueeze(2)
            reading, writing = weights.split([num_reads, 1], 2)
            written = (parameters.erase[:, :, group, :, None], parameters.add[:, :, group, :, None])
            key, strength, gate, sharpening = own
            used = (raw_shift, shift, flat_shift, content, weights, reading, writing)
            parts.append(GroupTrace(key, strength, gate, sharpening, *used, *written, reads[group]))
        return parts

    def _unroll(
        self, recurrent: Float[Tensor, "parameter recurrent"], reads: Float[Tensor, "batch read_head width"]
    ) -> None:
        layout, squashed = self.layout, SegmentParameters.of(self.squashed, self.layout)
        # 1 + softplus(x) = log(exp(x + 1) + e), so one call computes strength >= 0 and sharpening >= 1.
        SegmentParameters.of(self.driven, layout).sharpening.add_(1)
        floor = torch.arange(2, device=reads.device).repeat_interleave(layout.heads).to(reads.dtype)
        stacked = (self.driven, self.squashed, squashed.wide, squashed.gates, squashed.positive)
        parts = list(zip(*(part.steps() for part in self.parts), strict=True))
        outputs, flats = self.outputs.unbind(0), self.outputs.flatten(2).unbind(0)
        flat, turn, live = reads.flatten(1), recurrent.t(), None
        for time, (driven, raw, wide, gates, positive) in enumerate(zip(*map(unbind_time, stacked), strict=True)):
            torch.addmm(driven, flat, turn, out=raw)
            wide.tanh_()
            gates.sigmoid_()
            torch.logaddexp(positive, floor, out=positive)
            if self.active is not None:
                live = self.active[time, :, None, None]
            for group, here in enumerate(parts[time]):
                self._step_heads(group, here, time * len(self.parts) + group, live)
            if live is not None:
                torch.where(live, outputs[time], reads, out=outputs[time])
            reads, flat = outputs[time], flats[time]

    def _step_heads(self, group: int, here: GroupTrace, version: int, live: Bool[Tensor, "batch 1 1"] | None) -> None:
        """Address, read and write with one group of heads."""
        memory, writing = self.versions[version], here.writing
        self._address(group, here, memory)
        if live is not None:
            torch.where(live, here.weights, self.last[group], out=here.weights)
            writing = writing * live
        self.last[group] = here.weights
        if self.layout.groups[group]:
            torch.bmm(here.reading, self.turned[version], out=here.reads)
        change = torch.sub(here.add, memory * here.erase)  # addcmul is slow with broadcasting
        torch.addcmul(memory, writing, change, out=self.versions[version + 1])

    def _address(self, group: int, here: GroupTrace, memory: Float[Tensor, "batch width slot"]) -> None:
        norm = torch.linalg.vector_norm(here.key, dim=-1, keepdim=True)
        norms = torch.addcmul(self.eps, norm, torch.bmm(self.ones, memory * memory).sqrt_())  # see slot_norm
        similarity = torch.bmm(here.key * here.strength, memory).div_(norms)
        torch.softmax(similarity, -1, out=here.content)
        if self.is_full:
            moves = self.moves[group]
            torch.softmax(here.raw_shift, -1, out=here.shift)
            torch.lerp(self.last[group], here.content, here.gate, out=moves.before)
            torch.softmax(moves.shift(here.flat_shift).log_().mul_(here.sharpening), -1, out=here.weights)


def cut_time(stacked: Float[Tensor, "time batch head ..."], layout: HeadLayout) -> Views:
    """Split a tensor of all heads and steps into the groups."""
    parts: Views = stacked.split([reads + 1 for reads in layout.groups], 2)
    return parts
