"""Gradient probes: how far back in time a gradient really goes."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def gradient_reach(
    run: Callable[[Sequence[Tensor]], Sequence[Tensor]], segments: Sequence[Float[Tensor, "batch length dim"]]
) -> Float[Tensor, "output segment"]:
    """Measure which segment each output depends on, as back-propagation sees it.

    A repository that says ``detach`` and does not, or does not and does, is found out by this matrix: under full
    back-propagation it is filled below the diagonal, under truncation blocks of zeros appear.

    Args:
        run: maps segments to outputs, for instance through :func:`~mnemic_core.training.segments.run_segments`.
        segments: the inputs; copies of them are made to require gradients.

    Returns:
        Norm of the gradient of a fixed random projection of output ``i`` with respect to segment ``j``.
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
    """Return the derivative of a projection of ``fn`` along a fixed random direction, by autograd and by differences.

    Args:
        fn: the function, at best in float64; it must be deterministic.
        x: the point.
        step: half the distance of the two points of the central difference.

    Returns:
        The derivative that autograd reports and the one that the function really has. They differ exactly when
        something on the way was detached (or is not smooth).
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
    # Not a plain sum: behind a normalisation or a softmax the gradient of a sum is zero.
    return (tensor * _fixed_noise(tensor)).sum()


def _fixed_noise(like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)
