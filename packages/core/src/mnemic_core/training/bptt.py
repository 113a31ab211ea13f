"""Gradient probes: how far back in time gradients reach."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def gradient_reach(
    run: Callable[[Sequence[Tensor]], Sequence[Tensor]], segments: Sequence[Float[Tensor, "batch length dim"]]
) -> Float[Tensor, "output segment"]:
    """Return the norm of the gradient of (a projection of) output ``i`` with respect to segment ``j``.

    Under full back-propagation the matrix is filled below the diagonal; truncation gives blocks of zeros.

    Args:
        run: maps segments to outputs, for instance through :func:`~mnemic_core.training.segments.run_segments`.
        segments: the inputs, which are copied.
    """
    leaves = [segment.detach().clone().requires_grad_() for segment in segments]
    outputs = run(leaves)
    reach = torch.zeros(len(outputs), len(leaves))
    for row, output in enumerate(outputs):
        if not output.requires_grad:
            continue
        gradients = torch.autograd.grad(
            _projection(output), leaves, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        reach[row] = torch.stack([gradient.norm() for gradient in gradients])
    return reach


def directional_derivative(
    fn: Callable[[Tensor], Tensor], x: Float[Tensor, "*axis"], *, step: float = 1e-5
) -> tuple[float, float]:
    """Return the derivative of (a projection of) ``fn`` along a fixed random direction, by autograd and differences.

    They differ if something is detached or not smooth.

    Args:
        fn: a deterministic function, preferably in float64.
        x: the point.
        step: of the central difference.
    """
    direction = _fixed_noise(x)
    leaf = x.detach().clone().requires_grad_()
    value = _projection(fn(leaf))
    reported = 0.0
    if value.requires_grad:
        (gradient,) = torch.autograd.grad(value, leaf, allow_unused=True, materialize_grads=True)
        reported = float((gradient * direction).sum())
    with torch.no_grad():
        ahead, behind = (_projection(fn(x + sign * step * direction)) for sign in (1, -1))
    return reported, float((ahead - behind) / (2 * step))


def _projection(tensor: Tensor) -> Tensor:
    # Not a sum, whose gradient is zero after a normalization or softmax.
    return (tensor * _fixed_noise(tensor)).sum()


def _fixed_noise(like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)
