"""A Neural Turing Machine over a whole segment at once.

What needs no state (the controller's part of the head parameters) is computed for the whole segment before; the rest is
one node of the graph (:mod:`~mnemic_core.machines.turing_run` and :mod:`~mnemic_core.machines.turing_derivative`).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from mnemic_core.machines.turing_addressing import HeadLayout
from mnemic_core.machines.turing_derivative import turing_gradients
from mnemic_core.machines.turing_run import TuringRun


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
    with full_precision(drive.device):
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            scan: Callable[..., tuple[Tensor, Tensor, Tensor]] = _Scan.apply
            return scan(*tensors, active, layout, is_full)
        return TuringRun(*tensors, active, layout, is_full=is_full, keep=False).results()


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
    with full_precision(drive.device):
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


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Keep products in the type of the state: memory accumulates over the whole sequence."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


class _Scan(torch.autograd.Function):
    """The recurrence as one node of the graph."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        _, recurrent, _, reads, weights, active, layout, is_full = inputs
        run = TuringRun(*inputs[:-1], is_full=is_full, keep=True)
        outputs, memory, last = run.results()
        before = torch.cat([reads[None], outputs[:-1]])
        columns = [tensor for part in run.parts for tensor in (part.content, part.weights, part.flat_shift)]
        ctx.save_for_backward(recurrent, before, weights, active, run.squashed, run.memories, *columns)
        ctx.layout, ctx.is_full = layout, is_full
        return outputs, memory, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        recurrent, before, weights, active, squashed, memories, *columns = ctx.saved_tensors
        traces = list(zip(columns[0::3], columns[1::3], columns[2::3], strict=True))
        with full_precision(before.device):
            found = turing_gradients(
                ctx.layout, ctx.is_full, recurrent, before, weights, active, squashed, memories, traces, gradients
            )
        return (*found, None, None, None)
