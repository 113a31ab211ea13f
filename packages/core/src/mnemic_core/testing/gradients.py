"""Rules 5 and 6 of the memory contract: gradient policies, and memory replay."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mnemic_core.memory import SegmentMemory
from mnemic_core.state import MemoryState
from mnemic_core.testing.behavior import BATCH, compare_states, random_segments
from mnemic_core.testing.comparison import assert_close
from mnemic_core.training import directional_derivative, gradient_reach, replay_backward, run_segments


def check_gradient_policy(module: SegmentMemory[Any]) -> None:
    """Rule 5: ``detach="never"`` gives the true derivative over three segments, ``"stored"`` none.

    The true derivative is a finite difference in float64, which reveals a hidden detach as well as a missing one.
    """
    module = copy.deepcopy(module).double()
    # Segments of one token, so that a memory of a few items still has the first when the third is read.
    segments = [segment[:, :1].double() for segment in random_segments(module, 3)]

    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        return run_segments(module, inputs, module.init_state(BATCH, dtype=torch.float64))[0]

    if module.detach == "stored":
        crossing = gradient_reach(run, segments).tril(-1)
        assert not crossing.any(), f'rule 5, detach="stored" but gradients cross segments: {crossing.tolist()}'
        return
    reported, true = directional_derivative(lambda first: run([first, *segments[1:]])[-1], segments[0])
    assert true != 0, "rule 5, the output of segment 3 does not depend on segment 1 at all: nothing is remembered"
    assert abs(reported - true) <= 1e-6 + 1e-4 * abs(true), (
        f'rule 5, detach="never" but autograd reports {reported:.6g} over three segments where the derivative is '
        f"{true:.6g}: something is detached"
    )


def check_replay_equality(module: SegmentMemory[Any]) -> None:
    """Rule 6: memory replay gives the gradients of plain back-propagation within 1e-6, dropout included.

    In float64: gradients are sums over segments in another order, whose last bits in float32 depend on the processor.
    """
    step = LayerBefore(copy.deepcopy(module), dropout=0.25).double()
    step.train()
    segments, targets = ([each.double() for each in random_segments(module, 3, seed=seed)] for seed in (0, 1))

    def loss_fn(output: Tensor, index: int) -> Tensor:
        return (output - targets[index]).square().mean()

    torch.manual_seed(0)
    outputs, state = [], module.init_state(BATCH, dtype=torch.float64)
    for segment in segments:
        output, state = step(segment, state)
        outputs.append(output)
    torch.autograd.backward([loss_fn(output, index) for index, output in enumerate(outputs)])
    expected = _take_gradients(step)

    torch.manual_seed(0)
    _, replayed_state, _ = replay_backward(step, segments, module.init_state(BATCH, dtype=torch.float64), loss_fn)
    compare_states(replayed_state, state, "rule 6, replayed", tolerance=1e-6)
    for name, gradient in _take_gradients(step).items():
        assert_close(gradient, expected[name], tolerance=1e-6, name=f"rule 6, replayed: gradient of {name}")


class LayerBefore(nn.Module):
    """A memory behind a layer, so that there is always something to learn, and with dropout something random."""

    def __init__(self, module: SegmentMemory[Any], dropout: float = 0.0) -> None:
        super().__init__()
        self.module, self.dim = module, module.dim
        self.layer = nn.Linear(module.dim, module.dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "batch time dim"], state: MemoryState
    ) -> tuple[Float[Tensor, "batch time dim"], MemoryState]:
        """Return the tokens of the layer with what the memory recalls for them added."""
        hidden = self.dropout(self.layer(x))
        recalled, state = self.module(hidden, state)
        return recalled + hidden, state


def _take_gradients(module: nn.Module) -> dict[str, Tensor]:
    """Return the gradient of every parameter that has one, and clear them."""
    gradients = {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}
    module.zero_grad()
    return gradients
