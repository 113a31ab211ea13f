"""Memory replay back-propagation: the gradients of full back-propagation at the memory cost of one segment."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils import _pytree as pytree

from mnemic_core.errors import UserError
from mnemic_core.state import MemoryState

S = TypeVar("S", bound=MemoryState)
Input = TypeVar("Input")
Output = TypeVar("Output")

RngState = tuple[Tensor, Tensor | None]


def replay_backward(
    step: Callable[[Input, S], tuple[Output, S]],
    inputs: Sequence[Input],
    state: S,
    loss_fn: Callable[[Output, int], Tensor],
    *,
    weights: Sequence[float] | None = None,
) -> tuple[list[Tensor], S, S]:
    """Back-propagate through a rollout with the activations of one segment at a time.

    Memory replay back-propagation of Memformer (Wu et al., arXiv:2010.06891, algorithm 1): a forward pass without
    gradients stores the states; then the segments are computed again in reverse order, each with its own graph, and
    the gradient of the state is passed to the segment before. Gradients are **added** to ``.grad`` of everything that
    ``step`` uses and of the graph of ``state`` (a learned initial state), exactly as by ``(sum of weights[t] *
    loss[t]).backward()``, with the same random numbers for dropout.

    Call it inside the autocast context of training. With a gradient scaler ``loss_fn`` must return the scaled loss. A
    ``DistributedDataParallel`` step synchronizes in the last backward pass only.

    Args:
        step: computes one segment, ``(input, state) -> (output, state)``, without other side effects; batch
            statistics of a module are updated once.
        inputs: of each segment.
        state: before the first segment. Detach it to stop gradients there.
        loss_fn: loss of a segment from its output and its index.
        weights: factor of each loss; 1 if None.

    Returns:
        The losses (detached, without weights), the last state (detached), and the gradient of the first state as a
        state.

    Raises:
        UserError: if there is no input, or not one weight for each.

    Example:
        >>> from mnemic_core import ExponentialMemory
        >>> memory, layer = ExponentialMemory(4, decay=0.5, detach="never"), nn.Linear(4, 4)
        >>> def step(x, state):
        ...     return memory(layer(x), state)
        >>> losses, state, _ = replay_backward(
        ...     step, list(torch.randn(3, 1, 2, 4)), memory.init_state(1), lambda output, index: output.square().mean()
        ... )
        >>> len(losses), layer.weight.grad is not None
        (3, True)
    """
    if not inputs:
        raise UserError("replay_backward needs at least one input, got none")
    if weights is not None and len(weights) != len(inputs):
        raise UserError(f"weights must have one entry for each of the {len(inputs)} inputs, got {len(weights)}")
    device = state.device
    states, draws = _sweep(step, inputs, state.detach(), device)
    final = states.pop()
    states[0] = state  # with its graph, if it has one
    losses: list[Tensor] = []
    gradient: list[Tensor | None] | None = None
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.enable_grad(), _frozen_buffers(step):
        for index in reversed(range(len(inputs))):
            _restore(draws[index], device)
            leaves, spec = pytree.tree_flatten(states.pop())
            leaves = [_observed(leaf) for leaf in leaves]
            # Data parallelism synchronizes in the last backward pass.
            with step.no_sync() if index > 0 and isinstance(step, DistributedDataParallel) else nullcontext():
                output, after = step(inputs[index], pytree.tree_unflatten(leaves, spec))
                loss = loss_fn(output, index)
                weighted = loss if weights is None else loss * weights[index]
                _backward(weighted, pytree.tree_leaves(after), gradient)
            losses.append(loss.detach())
            gradient = [leaf.grad for leaf in leaves]
    filled = [
        torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(leaves, gradient or [], strict=True)
    ]
    return losses[::-1], final, pytree.tree_unflatten(filled, spec)


@torch.no_grad()
def _sweep(
    step: Callable[[Input, S], tuple[Output, S]], inputs: Sequence[Input], state: S, device: torch.device
) -> tuple[list[S], list[RngState]]:
    """Return the states before each segment and after the last, and the random states before each segment."""
    states, draws = [state], []
    for given in inputs:
        draws.append(_rng_state(device))
        _, state = step(given, state)
        states.append(state)
    return states, draws


def _observed(tensor: Tensor) -> Tensor:
    """Return the tensor such that a backward pass stores its gradient and continues into its graph, if any."""
    if not tensor.requires_grad:
        return tensor.detach().requires_grad_(tensor.is_floating_point())
    # Only the first state can have a graph. It is part of the backward pass of the first segment, because data
    # parallelism synchronizes once, when every parameter has its gradient.
    alias = tensor.view_as(tensor)
    alias.retain_grad()
    return alias


def _backward(loss: Tensor, state: list[Tensor], gradient: list[Tensor | None] | None) -> None:
    """Back-propagate the loss of a segment and the gradient of its state in one pass."""
    roots: list[Tensor] = [loss] if loss.requires_grad else []
    incoming: list[Tensor | None] = [None] * len(roots)
    for tensor, grad in zip(state, gradient or [None] * len(state), strict=True):
        if grad is not None and tensor.requires_grad:
            roots.append(tensor)
            incoming.append(grad)
    if roots:
        torch.autograd.backward(roots, incoming)


def _rng_state(device: torch.device) -> RngState:
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _restore(rng: RngState, device: torch.device) -> None:
    torch.set_rng_state(rng[0])
    if rng[1] is not None:
        torch.cuda.set_rng_state(rng[1], device)


@contextmanager
def _frozen_buffers(step: object) -> Iterator[None]:
    """Restore the buffers of a module after the block, so that running statistics see each segment once."""
    buffers = list(step.buffers()) if isinstance(step, nn.Module) else []
    saved = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, saved, strict=True):
                buffer.copy_(value)
