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
        # A step is little but the start of its kernels, and in this mode a kernel starts in less time.
        with torch.inference_mode():
            run = TuringRun(*tensors, active, layout, is_full=is_full, keep=False)
        outputs, memory, last = (result.clone() for result in run.results())  # usable where gradients are wanted
        return outputs, memory, last


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
    # A step is little but the start of its kernels, so there are few: what is carried is the sum of the slots instead
    # of their mean, and one tanh serves both gates, as sigmoid(2 x) = (1 + tanh(x)) / 2.
    halve = torch.tensor([1.0, 0.5], device=drive.device).to(drive.dtype).repeat_interleave(added)
    turn = torch.cat([recurrent[rows] for rows in used]).t() * (halve / slots)
    drives = (torch.cat([drive[..., rows] for rows in used], -1) * halve).unbind(0)
    start = memory.sum(1)
    total, reads, unchanged = start, reads.flatten(1) * slots, drive.new_full((), 1 - 0.5 / slots)
    outputs, keeps = [], []

    def cut(added: Tensor) -> tuple[Tensor, ...]:
        """Split something of all write heads."""
        return (added,) if layout.write_heads == 1 else added.split(layout.width, 1)

    with full_precision(drive.device):
        for time, driven in enumerate(drives):
            add, change = torch.addmm(driven, reads, turn).tanh_().chunk(2, 1)
            keep = torch.sub(unchanged, change, alpha=0.5 / slots)
            live = None if active is None else active[time, :, None]
            if live is not None:
                add, keep = add * live, keep.where(live, 1.0)
            found = []
            for num_reads, added_here, kept_here in zip(layout.groups, cut(add), cut(keep), strict=True):
                found += [total] * num_reads
                total = torch.addcmul(added_here, total, kept_here)
            new = torch.cat(found, 1) if len(found) > 1 else found[0]
            reads = new if live is None else new.where(live, reads)
            outputs.append(reads)
            keeps.append(keep)
        kept = torch.stack(keeps, 1).view(len(total), -1, layout.width).prod(1)  # of all steps and heads
        read = torch.stack(outputs).unflatten(-1, (-1, layout.width)) / slots
        return read, torch.addcmul(((total - start * kept) / slots)[:, None], memory, kept[:, None])


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
