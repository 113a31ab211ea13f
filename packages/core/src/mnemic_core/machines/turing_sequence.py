"""A Neural Turing Machine over a whole segment: the recurrence with few kernels per step, its derivative by hand.

What needs no state (the controller's part of the head parameters) is computed for the whole segment before. The
derivative recomputes everything that is not recurrent for all steps at once and keeps only the chain itself in a
loop. Symbols as in :mod:`mnemic_core.machines.turing_addressing`; the time axis comes first here.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from mnemic_core.machines.turing_addressing import COSINE_EPS, HeadLayout, HeadParameters, shift_sources

Steps = list[tuple[Tensor, ...]]


def turing_scan(
    drive: Float[Tensor, "time batch parameter"],
    recurrent: Float[Tensor, "parameter recurrent"],
    memory: Float[Tensor, "batch slot width"],
    reads: Float[Tensor, "batch read_head width"],
    weights: Float[Tensor, "batch head slot"],
    active: Bool[Tensor, "time batch"] | None,
    layout: HeadLayout,
    *,
    is_full: bool,
) -> tuple[
    Float[Tensor, "time batch read_head width"],
    Float[Tensor, "batch slot width"],
    Float[Tensor, "batch head slot"],
]:
    """Run all steps of a segment.

    Args:
        drive: the controller's part of the head parameters, not squashed, for at least one step.
        recurrent: how the vectors read in the previous step enter the head parameters.
        memory: the slots before the segment.
        reads: the vectors read last.
        weights: the last weights, heads in the order of use.
        active: False at tokens to ignore; None if there are none.
        layout: the heads.
        is_full: all stages of addressing, or content only.

    Returns:
        The vectors read in every step, and memory and weights after the last one.
    """
    tensors = (drive, recurrent, memory, reads, weights)
    with _full_precision(drive.device):
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            scan: Callable[..., tuple[Tensor, Tensor, Tensor]] = _Scan.apply
            return scan(*tensors, active, layout, is_full)
        return _run(*tensors, active, layout, is_full, None)


def uniform_scan(
    drive: Float[Tensor, "time batch parameter"],
    recurrent: Float[Tensor, "parameter recurrent"],
    memory: Float[Tensor, "batch slot width"],
    reads: Float[Tensor, "batch read_head width"],
    active: Bool[Tensor, "time batch"] | None,
    layout: HeadLayout,
) -> tuple[Float[Tensor, "time batch read_head width"], Float[Tensor, "batch slot width"]]:
    """Run all steps of a segment with every weight ``1 / slots``; arguments as in :func:`turing_scan`.

    All heads then read the mean slot, which is a recurrence of its own, and every slot's distance from it shrinks by
    the same factors.
    """
    slots, added = memory.shape[1], layout.write_heads * layout.width
    wide, gates, *_ = layout.sizes
    used = [slice(wide - added, wide), slice(wide + gates - added, wide + gates)]  # what is added, what is erased
    turn = torch.cat([recurrent[rows] for rows in used]).t()
    start = mean = memory.mean(1)
    outputs, keeps = [], []
    with _full_precision(drive.device):
        for time, driven in enumerate(torch.cat([drive[..., rows] for rows in used], -1).unbind(0)):
            raw = torch.addmm(driven, reads.flatten(1), turn)
            add = raw[:, :added].tanh().view(-1, layout.write_heads, layout.width)
            erase = raw[:, added:].sigmoid().view_as(add) / slots
            if active is not None:
                live = active[time, :, None, None]
                add, erase = add * live, erase * live
            found = []
            for write, num_reads in enumerate(layout.groups):
                found.append(mean[:, None].expand(-1, num_reads, -1))
                mean = torch.addcmul(mean, mean, erase[:, write], value=-1).add(add[:, write], alpha=1 / slots)
            new = torch.cat(found, 1)
            reads = new if active is None else torch.where(active[time, :, None, None], new, reads)
            outputs.append(reads)
            keeps.append(1 - erase)
        kept = torch.cat(keeps, 1).prod(1)
        return torch.stack(outputs), torch.addcmul((mean - start * kept)[:, None], memory, kept[:, None])


def _full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Keep products in the type of the state: memory accumulates over the whole sequence."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def _run(
    drive: Tensor,
    recurrent: Tensor,
    memory: Tensor,
    reads: Tensor,
    weights: Tensor,
    active: Tensor | None,
    layout: HeadLayout,
    is_full: bool,
    trace: Steps | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return reads, memory and weights; append to ``trace`` what the derivative needs of each step."""
    eps, turn = drive.new_full((), COSINE_EPS), recurrent.t()
    sources = layout.cut(_sources(weights, layout))
    outputs: list[Tensor] = []
    live = None
    for time, driven in enumerate(drive.unbind(0)):
        heads = layout.squash(torch.addmm(driven, reads.flatten(1), turn))
        if active is not None:
            live = active[time, :, None, None]
        cut = [layout.cut(part) for part in _shared(heads, weights)]
        found, contents, chosen, memories = [], [], [], []
        for write, (scaled, norm, gate, shift, sharpening, previous) in enumerate(zip(*cut, strict=True)):
            memory_norm = torch.linalg.vector_norm(memory, dim=-1)[:, None]
            likeness = torch.bmm(scaled, memory.transpose(1, 2)) / torch.addcmul(eps, norm, memory_norm)
            weight = content = torch.softmax(likeness, -1)
            if is_full:
                shifted = _shift(torch.lerp(previous, content, gate), shift, sources[write])
                weight = torch.softmax(torch.xlogy(sharpening, shifted), -1)
            if live is not None:
                weight = torch.where(live, weight, previous)
            memories.append(memory)
            contents.append(content)
            chosen.append(weight)
            num_reads = layout.groups[write]
            if num_reads:
                found.append(torch.bmm(weight[:, :num_reads], memory))
            writing = weight[:, num_reads:].transpose(1, 2)  # batch slot 1
            if live is not None:
                writing = writing * live
            erase, add = heads.erase[:, write : write + 1], heads.add[:, write : write + 1]
            memory = torch.addcmul(memory, writing, torch.addcmul(add, memory, erase, value=-1))
        new, weights, content = _one(found), _one(chosen), _one(contents)
        reads = new if live is None else torch.where(live, new, reads)
        outputs.append(reads)
        if trace is not None:
            trace.append((*heads, content, weights, *memories))
    return torch.stack(outputs), memory, weights


def _one(parts: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _shared(heads: HeadParameters, weights: Tensor) -> tuple[Tensor, ...]:
    norm = torch.linalg.vector_norm(heads.key, dim=-1, keepdim=True)
    return heads.key * heads.strength, norm, heads.gate, heads.shift, heads.sharpening, weights


def _sources(weights: Tensor, layout: HeadLayout) -> Tensor:
    """Return where the weights of a shift come from, ready for ``gather``."""
    sources = shift_sources(weights.shape[-1], layout.max_shift, weights.device)
    return sources.expand(*weights.shape[:-1], -1)


def _moved(weights: Tensor, sources: Tensor, offsets: int) -> Tensor:
    """Return the weights once for each move, [... head offset slot]."""
    return weights.gather(-1, sources).view(*weights.shape[:-1], offsets, -1)


def _shift(weights: Tensor, shift: Tensor, sources: Tensor) -> Tensor:
    return (shift[..., None, :] @ _moved(weights, sources, shift.shape[-1])).squeeze(-2)


def _softmax_slope(gradient: Tensor, output: Tensor) -> Tensor:
    slope: Tensor = torch.ops.aten._softmax_backward_data(gradient, output, -1, output.dtype)
    return slope


class _Scan(torch.autograd.Function):
    """The recurrence as one node of the graph."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        drive, recurrent, memory, reads, weights, active, layout, is_full = inputs
        trace: Steps = []
        outputs, memory, last = _run(drive, recurrent, memory, reads, weights, active, layout, is_full, trace)
        before = torch.cat([reads[None], outputs[:-1]])
        columns = [torch.stack(column) for column in zip(*trace, strict=True)]
        ctx.save_for_backward(recurrent, before, weights, active, *columns)
        ctx.layout, ctx.is_full = layout, is_full
        return outputs, memory, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        recurrent, before, weights, active, *columns = ctx.saved_tensors
        chain = _prepare(ctx.layout, ctx.is_full, weights, HeadParameters(*columns[:7]), columns[7:])
        return (*_run_back(chain, recurrent, before, active, gradients), None, None, None)


class _Content(NamedTuple):
    """What the derivative of a group's content addressing and access needs, of all steps or of one."""

    memory: Tensor  # batch slot width, before the write
    unit_memory: Tensor  # batch slot width
    memory_norm: Tensor  # batch slot 1
    key: Tensor  # batch head width
    unit_key: Tensor  # batch head width
    key_norm: Tensor  # batch head 1
    content: Tensor  # batch head slot
    weights: Tensor  # batch head slot
    cosine: Tensor  # batch head slot
    slope: Tensor  # batch head slot: derivative of the logits by the product of key and slot
    add_erase: Tensor  # batch 1 2*width: what is added, and minus what is erased


class _Location(NamedTuple):
    """What the derivative of a group's other stages needs, of all steps or of one."""

    gate: Tensor  # batch head 1
    shift: Tensor  # batch head offset
    moved: Tensor  # batch head offset slot: the interpolated weights once for each move
    gap: Tensor  # batch head slot: content minus previous weights
    slope: Tensor  # batch head slot: derivative of the logits by the shifted weights
    logarithm: Tensor  # batch head slot: of the shifted weights


Stage = TypeVar("Stage", _Content, _Location)


class _Chain(NamedTuple):
    """Everything in the derivative of a run that is not recurrent, computed for all steps at once."""

    layout: HeadLayout
    squash: tuple[Tensor, ...]  # for each step: derivative of the squashing functions
    backwards: tuple[Tensor, ...]  # for each group: sources of the moves backwards
    content: list[list[_Content]]  # for each group, then for each step
    location: list[list[_Location]] | None  # the same; None if content alone is addressed


def _prepare(
    layout: HeadLayout, is_full: bool, weights: Tensor, heads: HeadParameters, columns: Sequence[Tensor]
) -> _Chain:
    within, after, *memories = columns
    sources = _sources(weights, layout)
    # Where the weights went is where their gradients come from: the moves backwards.
    backwards = sources.view(*weights.shape[:2], layout.offsets, -1).flip(2).flatten(2)
    add_erase = torch.cat([heads.add, -heads.erase], -1)[:, :, :, None].unbind(2)
    cut = [_cut_time(part, layout) for part in (heads.key, heads.strength, within, after)]
    content = [_steps(_content_slopes(*parts)) for parts in zip(*cut, memories, add_erase, strict=True)]
    location = None
    if is_full:
        previous, everywhere = torch.cat([weights[None], after[:-1]]), sources.expand(len(after), -1, -1, -1)
        located = (within, previous, heads.gate, heads.shift, heads.sharpening, everywhere)
        cut = [_cut_time(part, layout) for part in located]
        location = [_steps(_location_slopes(*parts)) for parts in zip(*cut, strict=True)]
    return _Chain(layout, _squash_slopes(heads).unbind(0), layout.cut(backwards), content, location)


def _run_back(
    chain: _Chain, recurrent: Tensor, before: Tensor, active: Tensor | None, gradients: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of drive, recurrent, memory, reads and weights."""
    d_outputs, d_memory, d_weights = gradients
    d_reads = torch.zeros_like(before[0])
    d_drives: list[Tensor] = []
    for time in reversed(range(len(before))):
        d_reads = d_reads + d_outputs[time]
        live = None if active is None else active[time, :, None, None]
        kept = None if live is None else (d_reads * ~live, d_weights * ~live)
        if live is not None:
            d_reads, d_weights = d_reads * live, d_weights * live
        d_raw, d_memory, d_weights = _step_back(chain, time, live, (d_memory, d_reads, d_weights))
        d_drives.append(d_raw)
        d_reads = (d_raw @ recurrent).view_as(d_reads)
        if kept is not None:
            d_reads, d_weights = d_reads + kept[0], d_weights + kept[1]
    d_drive = torch.stack(d_drives[::-1])
    d_recurrent = d_drive.flatten(0, 1).t() @ before.flatten(2).flatten(0, 1)
    return d_drive, d_recurrent, d_memory, d_reads, d_weights


def _step_back(
    chain: _Chain, time: int, live: Tensor | None, gradients: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of raw parameters, of memory and of weights before a step; groups go in reverse."""
    d_memory, d_reads, d_weights = gradients
    groups, width = chain.layout.groups, chain.layout.width
    d_reads_of, d_weights_of = d_reads.split(groups, 1), chain.layout.cut(d_weights)
    found: list[tuple[Tensor, ...]] = []
    for group in reversed(range(len(groups))):
        here = chain.content[group][time]
        d_weight, d_write, d_memory = _through_access(here, live, d_memory, d_reads_of[group], d_weights_of[group])
        if chain.location is None:
            nothing = torch.zeros_like(d_weight)
            none = nothing[..., :1]
            d_content, moves = d_weight, (nothing, none, none, none.expand(-1, -1, chain.layout.offsets))
        else:
            place = chain.location[group][time]
            d_content, moves = _through_location(place, d_weight, here.weights, chain.backwards[group])
        d_key, d_strength, d_memory = _through_content(here, d_content, d_memory)
        found.append((d_key, d_write, d_strength, *moves))
    keys, writes, strengths, previous, sharpenings, gates, shifts = [
        _one(parts) for parts in zip(*found[::-1], strict=True)
    ]
    squashed = [keys, writes[..., :width], gates, -writes[..., width:], strengths, sharpenings, shifts]
    return torch.cat([part.flatten(1) for part in squashed], 1) * chain.squash[time], d_memory, previous


def _cut_time(stacked: Tensor, layout: HeadLayout) -> tuple[Tensor, ...]:
    parts: tuple[Tensor, ...] = stacked.split([reads + 1 for reads in layout.groups], 2)
    return parts


def _steps(stacked: Stage) -> list[Stage]:
    """Return what belongs to each step."""
    return [type(stacked)(*fields) for fields in zip(*(field.unbind(0) for field in stacked), strict=True)]


def _squash_slopes(heads: HeadParameters) -> Tensor:
    """Return the derivative of the squashing functions; 1 at the shifts, whose softmax is not elementwise."""
    tanhs = torch.cat([heads.key, heads.add], 2).flatten(2)
    sigmoids = torch.cat([heads.gate.flatten(2), heads.erase.flatten(2)], 2)
    softplus = torch.cat([heads.strength, heads.sharpening - 1], 2).flatten(2)
    slopes = [1 - tanhs.square(), sigmoids * (1 - sigmoids), -torch.expm1(-softplus)]
    return torch.cat([*slopes, torch.ones_like(heads.shift).flatten(2)], 2)


def _content_slopes(
    key: Tensor, strength: Tensor, content: Tensor, weights: Tensor, memory: Tensor, add_erase: Tensor
) -> _Content:
    tiny = torch.finfo(key.dtype).tiny
    key_norm = torch.linalg.vector_norm(key, dim=-1, keepdim=True)
    memory_norm = torch.linalg.vector_norm(memory, dim=-1, keepdim=True)
    norms = key_norm * memory_norm.transpose(2, 3) + COSINE_EPS
    return _Content(
        memory,
        memory / memory_norm.clamp(min=tiny),
        memory_norm,
        key,
        key / key_norm.clamp(min=tiny),
        key_norm,
        content,
        weights,
        key @ memory.transpose(2, 3) / norms,
        strength / norms,
        add_erase,
    )


def _location_slopes(
    content: Tensor, previous: Tensor, gate: Tensor, shift: Tensor, sharpening: Tensor, sources: Tensor
) -> _Location:
    limits = torch.finfo(content.dtype)
    moved = _moved(torch.lerp(previous, content, gate), sources, shift.shape[-1])
    shifted = (shift[..., None, :] @ moved).squeeze(-2).clamp(min=limits.tiny)
    # A weight that underflowed has the slope 0 times infinity: a finite bound makes that 0.
    slope = (sharpening / shifted).clamp(max=limits.max)
    return _Location(gate, shift, moved, content - previous, slope, shifted.log())


def _through_access(
    here: _Content, live: Tensor | None, d_memory: Tensor, d_reads: Tensor, d_weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of the weights, of what is written, and of memory, through write and read."""
    num_reads, width = d_reads.shape[1], d_memory.shape[-1]
    writing = here.weights[:, num_reads:]
    if live is not None:
        writing = writing * live
    both = torch.cat([d_memory, d_memory * here.memory], -1)
    d_write = torch.bmm(writing, both)
    d_used = torch.bmm(here.add_erase, both.transpose(1, 2))
    d_memory = torch.addcmul(d_memory, writing.transpose(1, 2), d_memory * here.add_erase[..., width:])
    if num_reads:
        d_memory = torch.baddbmm(d_memory, here.weights[:, :num_reads].transpose(1, 2), d_reads)
        d_used = torch.cat([torch.bmm(d_reads, here.memory.transpose(1, 2)), d_used], 1)
    d_weights = d_weights + d_used
    return (d_weights if live is None else d_weights * live), d_write, d_memory


def _through_location(
    here: _Location, d_weights: Tensor, weights: Tensor, backwards: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Return the gradients of content weights, and of previous weights, sharpening, gate and raw shift."""
    d_logits = _softmax_slope(d_weights, weights)
    d_shifted = d_logits * here.slope
    d_shift = (d_shifted[..., None, :] @ here.moved.transpose(-1, -2)).squeeze(-2)
    d_mixed = _shift(d_shifted, here.shift, backwards)
    d_content = d_mixed * here.gate
    d_sharpening = (d_logits * here.logarithm).sum(-1, keepdim=True)
    d_gate = (d_mixed * here.gap).sum(-1, keepdim=True)
    return d_content, (d_mixed - d_content, d_sharpening, d_gate, _softmax_slope(d_shift, here.shift))


def _through_content(here: _Content, d_content: Tensor, d_memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of keys, strength and memory."""
    d_logits = _softmax_slope(d_content, here.content)
    d_product = d_logits * here.slope
    by_norms = d_product * here.cosine  # minus the derivative by the product of the norms
    d_key = torch.addcmul(
        torch.bmm(d_product, here.memory), torch.bmm(by_norms, here.memory_norm), here.unit_key, value=-1
    )
    d_memory = torch.baddbmm(d_memory, d_product.transpose(1, 2), here.key)
    of_norms = torch.bmm(by_norms.transpose(1, 2), here.key_norm)
    d_memory = torch.addcmul(d_memory, of_norms, here.unit_memory, value=-1)
    return d_key, (d_logits * here.cosine).sum(-1, keepdim=True), d_memory
