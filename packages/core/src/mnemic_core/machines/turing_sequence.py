"""A Neural Turing Machine over a segment as one node of the graph."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mnemic_core.machines.turing_addressing import HeadLayout
from mnemic_core.machines.turing_derivative import turing_gradients
from mnemic_core.machines.turing_run import ScanInputs, ScanResults, TuringRun


def turing_scan(inputs: ScanInputs, layout: HeadLayout, *, is_full: bool) -> ScanResults:
    """Run all steps of a segment, with all stages of addressing or with content only."""
    with full_precision(inputs.drive.device):
        if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in inputs):
            scan: Callable[..., tuple[Tensor, Tensor, Tensor]] = _Scan.apply
            return ScanResults(*scan(*inputs, layout, is_full))
        # The launch of kernels dominates a step, and in inference mode it takes less time.
        with torch.inference_mode():
            results = TuringRun(inputs, layout, is_full=is_full, keep=False).results()
        return ScanResults(*(result.clone() for result in results))  # usable where gradients are wanted


def uniform_scan(inputs: ScanInputs, layout: HeadLayout) -> ScanResults:
    """Run all steps of a segment with weights ``1 / slots``.

    All heads then read the mean slot, which has a recurrence of its own, and the distance of every slot from it shrinks
    by the same factors.
    """
    drive, recurrent, memory, reads, weights, active = inputs
    slots, added = memory.shape[1], layout.write_heads * layout.width
    wide, gates, *_ = layout.sizes
    used = [slice(wide - added, wide), slice(wide + gates - added, wide + gates)]  # what is added, what is erased
    # The launch of kernels dominates a step, so few are used: the sum of the slots is carried instead of the mean, and
    # one tanh computes both gates, as sigmoid(2 x) = (1 + tanh(x)) / 2.
    halve = torch.tensor([1.0, 0.5], device=drive.device).to(drive.dtype).repeat_interleave(added)
    turn = torch.cat([recurrent[rows] for rows in used]).t() * (halve / slots)
    drives = (torch.cat([drive[..., rows] for rows in used], -1) * halve).unbind(0)
    start = memory.sum(1)
    total, reads, unchanged = start, reads.flatten(1) * slots, drive.new_full((), 1 - 0.5 / slots)
    outputs, keeps = [], []

    def cut(added: Tensor) -> tuple[Tensor, ...]:
        """Split a tensor of all write heads."""
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
        kept = torch.stack(keeps, 1).view(len(total), -1, layout.width).prod(1)  # over all steps and heads
        read = torch.stack(outputs).unflatten(-1, (-1, layout.width)) / slots
        memory = torch.addcmul(((total - start * kept) / slots)[:, None], memory, kept[:, None])
    uniform = torch.full_like(weights, 1 / slots)
    weights = uniform if active is None else torch.where(active.any(0)[:, None, None], uniform, weights)
    return ScanResults(read, memory, weights)


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Disable autocast: memory accumulates over the sequence in the type of the state."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


class _Scan(torch.autograd.Function):
    """The recurrence as one node of the graph."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        *tensors, layout, is_full = inputs
        start = ScanInputs(*tensors)
        run = TuringRun(start, layout, is_full=is_full, keep=True)
        results = run.results()
        before = torch.cat([start.reads[None], results.reads[:-1]])
        columns = [tensor for part in run.parts for tensor in (part.content, part.weights, part.flat_shift)]
        kept = (start.recurrent, before, start.weights, start.active, run.squashed, run.memories)
        ctx.save_for_backward(*kept, *columns)
        ctx.layout, ctx.is_full = layout, is_full
        return results.reads, results.memory, results.weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        recurrent, before, weights, active, squashed, memories, *columns = ctx.saved_tensors
        traces = list(zip(columns[0::3], columns[1::3], columns[2::3], strict=True))
        kept = (recurrent, before, weights, active, squashed, memories)
        with full_precision(before.device):
            found = turing_gradients(ctx.layout, ctx.is_full, *kept, traces, gradients)
        return (*found, None, None, None)
